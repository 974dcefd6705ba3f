-- Here there is one writer: the table is Postgres', and nobody reads it.
create table write_turns (
    is_only integer primary key default 1 check (is_only = 1),
    turn integer not null,
    merges integer not null
);
insert into write_turns (turn, merges) values (0, 0);
