-- Erasures of persons. Both folders hold the same names and columns.

-- Receipts: when, who asked, and how much it was.
create table erasures (
    id blob primary key not null,
    begun_at integer not null,
    ended_at integer,
    asked_by text not null,
    visitors integer not null default 0,
    messages integer not null default 0,
    hits integer not null default 0,
    orders integer not null default 0,
    quarantined integer not null default 0,
    others integer not null default 0
) strict, without rowid;
create index erasures_begun on erasures (begun_at, id);

-- What hits that come late are known by: digests with the secret below, no names and no numbers.
create table erased (
    digest blob primary key not null,
    number integer not null,
    erasure_id blob not null,
    -- Only hits received until then; null: any.
    until integer
) strict, without rowid;
create index erased_number on erased (number);

create table erasure_marks (
    is_only integer primary key not null default 1 check (is_only = 1),
    secret blob not null,
    number integer not null
) strict;

-- What is being erased; empty again afterwards. Contacts have no stand-in. is_shared: a browser of
-- somebody else too, of which only the person's own hits are meant.
create table erasing_ids (
    id blob primary key not null,
    erasure_id blob not null,
    stand_in blob,
    is_shared integer not null
) strict, without rowid;

create table erasing_messages (
    id integer primary key not null,
    erasure_id blob not null,
    stand_in integer not null
) strict;

create table erasing_values (
    erasure_id blob not null,
    value text not null,
    primary key (erasure_id, value)
) strict, without rowid;
