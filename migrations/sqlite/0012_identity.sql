-- What was proved of people, so that a claim never becomes a proof by being remembered. Both folders hold the same names and columns.

-- 1: something signed or authenticated said whose the visitor is; 0: a claim. What stood here before the two were told apart counts as proved.
alter table visitors add column is_proved integer not null default 1;
-- The visitor whose public hit made the contact, as long as nothing signed or authenticated has named it (all zeros: it had no visitor).
alter table contacts add column made_by blob;
