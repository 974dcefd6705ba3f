-- Who is told of hits as they are stored. Both folders hold the same names and columns.

-- A receiver. Of the hits that match, all up to sent_to have arrived or stand in webhook_failures.
create table webhooks (
    id blob primary key not null,
    url text not null,
    label text,
    -- Which hits; null: all.
    kind text,
    delivery_id integer,
    link_id integer,
    verdict text,
    site text,
    sent_to integer not null,
    -- How many have arrived.
    sent integer not null,
    last_sent_at integer,
    -- Rounds of attempts without any success since failing_since, and when the next one is due.
    attempts integer not null,
    failing_since integer,
    next_at integer,
    -- ended_because: 'operator', 'gone' (410), 'failing' (for days).
    ended_at integer,
    ended_because text,
    -- Who sends, and until when nobody else does.
    lease_owner blob,
    lease_until integer,
    created_at integer not null,
    changed_at integer not null
) strict, without rowid;

-- What requests are signed with: all that have not ended. Those that verify have copies.
create table webhook_secrets (
    webhook_id blob not null,
    number integer not null,
    secret blob not null,
    created_at integer not null,
    ends_at integer,
    primary key (webhook_id, number)
) strict, without rowid;

-- Hits that did not arrive while others did: few. next_at null: given up.
create table webhook_failures (
    webhook_id blob not null,
    seq integer not null,
    attempts integer not null,
    failed_at integer not null,
    next_at integer,
    status integer,
    answer text not null,
    primary key (webhook_id, seq)
) strict, without rowid;

-- The latest attempts that failed, and what was answered.
create table webhook_attempts (
    webhook_id blob not null,
    number integer not null,
    seq integer not null,
    attempted_at integer not null,
    milliseconds integer not null,
    status integer,
    answer text not null,
    primary key (webhook_id, number)
) strict, without rowid;
