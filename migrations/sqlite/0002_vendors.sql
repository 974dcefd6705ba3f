-- What the vendors' protocols need. The Postgres folder holds the same names and columns.

-- Adobe's web-tracking tags: an identifier that names a page or a transaction. kind: 'web', 'transaction'.
create table page_tags (
    identifier text primary key,
    label text not null,
    kind text not null,
    folder text,
    source_url text,
    valid_until integer,
    created_at integer not null,
    changed_at integer not null
) strict;

-- Messages under the names that their vendors gave them: 'mautic:<tracking hash>', 'adobe:<uuid>'.
create table message_keys (
    key text primary key,
    broadlog_id integer not null
) strict, without rowid;

-- Forms that sites post: what they may hold and where they return to.
create table forms (
    id integer primary key,
    definition text not null,
    created_at integer not null,
    changed_at integer not null
) strict;
insert into counters (name, value) values ('form', 0);
