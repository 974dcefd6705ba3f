-- What the vendors' protocols need. The SQLite folder holds the same names and columns.

-- Adobe's web-tracking tags: an identifier that names a page or a transaction. kind: 'web', 'transaction'.
create table page_tags (
    identifier text primary key,
    label text not null,
    kind text not null,
    folder text,
    source_url text,
    valid_until timestamptz,
    created_at timestamptz not null,
    changed_at timestamptz not null
);

-- Messages under the names that their vendors gave them: 'mautic:<tracking hash>', 'adobe:<uuid>'.
create table message_keys (
    key text primary key,
    broadlog_id bigint not null
);

-- Forms that sites post: what they may hold and where they return to.
create table forms (
    id bigint primary key,
    definition jsonb not null,
    created_at timestamptz not null,
    changed_at timestamptz not null
);
insert into counters (name, value) values ('form', 0);
