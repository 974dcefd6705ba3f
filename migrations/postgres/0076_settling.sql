-- How far verdicts have settled, and which server lets them; what was stored before begins settled. Both folders hold the same names and columns.
create table settling (
    is_only bigint primary key default 1 check (is_only = 1),
    seq bigint not null,
    owner uuid,
    claimed_until timestamptz
);
insert into settling (seq) select coalesce(max(value), 0) from counters where name = 'hit';
