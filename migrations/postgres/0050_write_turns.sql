-- Transactions that write hits run beside one another and come here, one after another, before they
-- change what they share. Who finds the number that it saw at its beginning was alone.
create table write_turns (
    is_only bigint primary key default 1 check (is_only = 1),
    turn bigint not null,
    -- Turns in which contacts were merged.
    merges bigint not null
);
insert into write_turns (turn, merges) values (0, 0);
