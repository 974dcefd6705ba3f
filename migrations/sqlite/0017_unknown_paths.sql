-- Requests for paths that this server does not answer itself, by the first part of the path. Both folders hold the same names and columns.
-- passed_on: went to the old system of [upstream]; refused: there was none. Never more than 1,000 rows: '(others)' counts the rest.
create table unknown_paths (
    segment text not null primary key,
    passed_on integer not null default 0,
    refused integer not null default 0,
    first_at integer not null,
    last_at integer not null
) strict, without rowid;
