-- How far verdicts have settled, and which server lets them; what was stored before begins settled. Both folders hold the same names and columns.
create table settling (
    is_only integer primary key not null default 1 check (is_only = 1),
    seq integer not null,
    owner blob,
    claimed_until integer
) strict;
insert into settling (seq) select coalesce(max(value), 0) from counters where name = 'hit';
