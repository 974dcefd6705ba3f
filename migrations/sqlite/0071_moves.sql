-- From SQLite to Postgres: see src/store/moving.rs. Both folders hold the same names and columns.

-- In the database that is left (direction 'out') and in the one that is filled ('in'), under one id. No server uses
-- the first, nor the second before it has ended.
create table moves (
    id blob primary key not null,
    direction text not null,
    begun_at integer not null,
    ended_at integer
) strict, without rowid;

-- How far each table has come, written with its rows. last_key: the key of the last row, as JSON; null: none yet.
create table moved_tables (
    name text primary key not null,
    last_key text,
    row_count integer not null,
    ended_at integer
) strict, without rowid;
