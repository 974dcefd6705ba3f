-- What a start must know of the starts before it. Both folders hold the same names and columns.

-- Keys that links were signed with, by fingerprint; no secret can be made from one. A server that lacks one of them answers 404 to those links, and says so. One that
-- somebody gave up is missed no more; number -1 stands for keys of a time before this table.
create table signing_keys (
    number integer not null,
    fingerprint text not null,
    first_signed_at timestamptz not null,
    given_up_at timestamptz,
    primary key (number, fingerprint)
);

-- Months of hits that database.keep_months has removed: at most one a day.
create table removed_months (
    month text not null,
    removed_at timestamptz not null,
    hits bigint not null,
    primary key (month, removed_at)
);

-- Which start of which server moved a position last: two servers on copies of one data directory would take each other's hits for stored.
alter table spool_positions add column start_id uuid;
