-- Who is told of hits as they are stored. Both folders hold the same names and columns.

-- A receiver. Of the hits that match, all up to sent_to have arrived or stand in webhook_failures.
create table webhooks (
    id uuid primary key,
    url text not null,
    label text,
    -- Which hits; null: all.
    kind text,
    delivery_id bigint,
    link_id bigint,
    verdict text,
    site text,
    sent_to bigint not null,
    -- How many have arrived.
    sent bigint not null,
    last_sent_at timestamptz,
    -- Rounds of attempts without any success since failing_since, and when the next one is due.
    attempts bigint not null,
    failing_since timestamptz,
    next_at timestamptz,
    -- ended_because: 'operator', 'gone' (410), 'failing' (for days).
    ended_at timestamptz,
    ended_because text,
    -- Who sends, and until when nobody else does.
    lease_owner uuid,
    lease_until timestamptz,
    created_at timestamptz not null,
    changed_at timestamptz not null
);

-- What requests are signed with: all that have not ended. Those that verify have copies.
create table webhook_secrets (
    webhook_id uuid not null,
    number bigint not null,
    secret bytea not null,
    created_at timestamptz not null,
    ends_at timestamptz,
    primary key (webhook_id, number)
);

-- Hits that did not arrive while others did: few. next_at null: given up.
create table webhook_failures (
    webhook_id uuid not null,
    seq bigint not null,
    attempts bigint not null,
    failed_at timestamptz not null,
    next_at timestamptz,
    status bigint,
    answer text not null,
    primary key (webhook_id, seq)
);

-- The latest attempts that failed, and what was answered.
create table webhook_attempts (
    webhook_id uuid not null,
    number bigint not null,
    seq bigint not null,
    attempted_at timestamptz not null,
    milliseconds bigint not null,
    status bigint,
    answer text not null,
    primary key (webhook_id, number)
);
