-- What imports need. Both folders hold the same names and columns.

-- Whose the number is: 'adobe', 'mautic'; none: ours. An import changes no delivery that only has the same number by chance.
alter table deliveries add column origin text;

-- The servers' local copies read on from a time and a number.
drop index links_changed;
create index links_changed on links (changed_at, id);
create index deliveries_changed on deliveries (changed_at, id);
