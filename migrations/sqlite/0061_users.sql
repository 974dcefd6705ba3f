-- People who sign in, and their sessions. Both folders hold the same names and columns.

-- name: in lower case. role: 'viewer', 'analyst', 'operator', 'admin'. password: argon2id, as a PHC string; null: only a proxy signs them in.
create table users (
    id integer primary key,
    name text not null unique,
    role text not null,
    password text,
    created_at integer not null,
    created_by text not null,
    changed_at integer not null
) strict;
insert into counters (name, value) values ('user', 0);

-- print: SHA-256 of the cookie's value, which is stored nowhere. last_seen_at: to the minute.
create table sessions (
    print blob not null primary key,
    id blob not null unique,
    user_id integer not null,
    created_at integer not null,
    last_seen_at integer not null,
    ends_at integer not null,
    address text,
    agent text
) strict, without rowid;
create index sessions_user on sessions (user_id);

-- Failed sign-ins of the last quarter of an hour: by SHA-256 of a name, of a network, and of both.
create table sign_in_tries (
    subject blob not null primary key,
    tries integer not null,
    began_at integer not null
) strict, without rowid;
