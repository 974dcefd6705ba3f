-- Tokens of the API beside the admin token. Both folders hold the same names and columns.

-- print: SHA-256 of the token, which is stored nowhere; prefix: its first characters, to recognise it by. scopes: names, separated by spaces.
-- A revoked token stays, for the histories that name it. created_by, revoked_by: 'admin', 'command line', or whose token or which user it was.
create table tokens (
    id bigint primary key,
    name text not null,
    prefix text not null,
    print bytea not null unique,
    scopes text not null,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz,
    -- To the minute.
    last_used_at timestamptz,
    revoked_at timestamptz,
    revoked_by text
);
insert into counters (name, value) values ('token', 0);
