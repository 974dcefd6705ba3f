-- Erasures of persons. Both folders hold the same names and columns.

-- Receipts: when, who asked, and how much it was.
create table erasures (
    id uuid primary key,
    begun_at timestamptz not null,
    ended_at timestamptz,
    asked_by text not null,
    visitors bigint not null default 0,
    messages bigint not null default 0,
    hits bigint not null default 0,
    orders bigint not null default 0,
    quarantined bigint not null default 0,
    others bigint not null default 0
);
create index erasures_begun on erasures (begun_at, id);

-- What hits that come late are known by: digests with the secret below, no names and no numbers.
create table erased (
    digest bytea primary key,
    number bigint not null,
    erasure_id uuid not null,
    -- Only hits received until then; null: any.
    until timestamptz
);
create index erased_number on erased (number);

create table erasure_marks (
    is_only bigint primary key default 1 check (is_only = 1),
    secret bytea not null,
    number bigint not null
);

-- What is being erased; empty again afterwards. Contacts have no stand-in. is_shared: a browser of
-- somebody else too, of which only the person's own hits are meant.
create table erasing_ids (
    id uuid primary key,
    erasure_id uuid not null,
    stand_in uuid,
    is_shared bigint not null
);

create table erasing_messages (
    id bigint primary key,
    erasure_id uuid not null,
    stand_in bigint not null
);

create table erasing_values (
    erasure_id uuid not null,
    value text not null,
    primary key (erasure_id, value)
);
