-- Links are changed and ended after they were sent. Both folders hold the same names and columns.

-- From ended_at on clicks lead to end_url, else where an expired link of the delivery leads, else to the fallback.
alter table links add column ended_at integer;
alter table links add column end_url text;
-- Lists go through a delivery's links by falling ids.
create index links_delivery_id on links (delivery_id, id);
drop index links_delivery;

-- What was changed of a link. changed_by: 'admin', 'import', or whose token it was. was, became: the fields that changed, before and after.
create table link_changes (
    link_id integer not null,
    -- From 1 on for each link.
    number integer not null,
    changed_at integer not null,
    changed_by text not null,
    was text not null,
    became text not null,
    primary key (link_id, number)
) strict, without rowid;
