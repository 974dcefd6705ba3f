-- The first set of tables. The SQLite folder holds the same names and columns; a test compares the two.

create table deliveries (
    id bigint primary key,
    label text not null,
    channel text not null,
    sent_at timestamptz,
    expires_at timestamptz,
    expiration_url text,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    messages bigint not null default 0,
    created_at timestamptz not null,
    changed_at timestamptz not null
);

create table links (
    id bigint primary key,
    delivery_id bigint references deliveries (id),
    slug text unique,
    url text not null,
    label text,
    category text,
    created_at timestamptz not null,
    changed_at timestamptz not null
);
create index links_delivery on links (delivery_id);
create index links_changed on links (changed_at);

-- A person. merged_into is the surviving contact, always the last of the chain.
create table contacts (
    id uuid primary key,
    fields jsonb not null,
    tags text[] not null,
    merged_into uuid,
    created_at timestamptz not null,
    changed_at timestamptz not null
);
create index contacts_merged on contacts (merged_into) where merged_into is not null;

-- The values of unique fields, lower case and trimmed: who has a row here has the value.
create table contact_keys (
    field text not null,
    value text not null,
    contact_id uuid not null,
    primary key (field, value)
);
create index contact_keys_contact on contact_keys (contact_id);

-- Browsers whose person is known. Unknown ones have hits only.
create table visitors (
    id uuid primary key,
    contact_id uuid not null,
    changed_at timestamptz not null
);
create index visitors_contact on visitors (contact_id);

create table broadlogs (
    id bigint primary key,
    delivery_id bigint not null,
    contact_id uuid not null,
    format text,
    created_at timestamptz not null
);
-- Reports subtract the messages that cannot tell that they were opened; few are text only, so the index is small.
create index broadlogs_text on broadlogs (delivery_id) where format = 'text';

-- seq is the order of storage: rows of a transaction that commits later have higher numbers (the
-- projection's lock sees to it), so reading on from a seq skips nothing and repeats nothing.
create table hits (
    seq bigint not null,
    id uuid not null,
    received_at timestamptz not null,
    occurred_at timestamptz,
    kind text not null,
    dialect text not null,
    site text not null,
    page_url text,
    page_title text,
    page_language text,
    referrer text,
    page_tag text,
    delivery_id bigint,
    broadlog_id bigint,
    link_id bigint,
    visitor_id uuid,
    contact_id uuid,
    revenue numeric(18, 4),
    currency text,
    order_id text,
    quantity integer,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    tags text[],
    event text,
    ip inet,
    user_agent text,
    verdict text not null,
    reason text,
    extra jsonb,
    primary key (seq, received_at)
) partition by range (received_at);
-- Rows come nearly in the order of time, so a block range index finds an hour at a thousandth of a B-tree's size.
create index hits_time on hits using brin (received_at) with (pages_per_range = 32, autosummarize = on);
-- Hits are read by seq, going on from a number: a person's or a delivery's come out of these in that order, without a sort.
create index hits_contact on hits (contact_id, seq) where contact_id is not null;
create index hits_delivery on hits (delivery_id, seq) where delivery_id is not null;
-- Only hits without a person are looked up by visitor: to complete them when the person is known.
create index hits_visitor on hits (visitor_id) where visitor_id is not null and contact_id is null;

-- Figures of a message. Opens and clicks stand in the row without a currency, money in a row for each currency.
create table broadlog_figures (
    broadlog_id bigint not null,
    currency text not null,
    delivery_id bigint not null,
    first_open_at timestamptz,
    first_click_at timestamptz,
    opens bigint not null,
    clicks bigint not null,
    pages bigint not null,
    transactions bigint not null,
    revenue numeric not null,
    quantity bigint not null,
    primary key (broadlog_id, currency)
) with (fillfactor = 80);

-- Figures of an hour. delivery_id and link_id 0, currency '': none. distinct_broadlogs counts messages whose first hit of the kind fell
-- into the hour, so a sum over hours is the number of messages; new_broadlogs the same for the first hit of any kind. machine_hits are those of bots, scanners and prefetches.
create table hourly_figures (
    delivery_id bigint not null,
    hour timestamptz not null,
    kind text not null,
    link_id bigint not null,
    currency text not null,
    hits bigint not null,
    new_broadlogs bigint not null,
    distinct_broadlogs bigint not null,
    machine_hits bigint not null,
    revenue numeric not null,
    quantity bigint not null,
    primary key (delivery_id, hour, kind, link_id, currency)
) with (fillfactor = 80);

-- How far the database has read each server's spool; written in the transaction that writes the hits.
create table spool_positions (
    spool_id uuid primary key,
    position bigint not null,
    changed_at timestamptz not null
);

create table idempotency_keys (
    scope text not null,
    key text not null,
    received_at timestamptz not null,
    primary key (scope, key)
);
create index idempotency_keys_time on idempotency_keys using brin (received_at);

-- Records that the database refused, as they stood in the spool.
create table quarantine (
    id uuid primary key,
    spool_id uuid not null,
    position bigint not null,
    quarantined_at timestamptz not null,
    reason text not null,
    body bytea not null
);

-- The last numbers given out: 'delivery', 'link', 'broadlog', 'hit'.
create table counters (
    name text primary key,
    value bigint not null
);
insert into counters (name, value) values ('delivery', 0), ('link', 0), ('broadlog', 0), ('hit', 0);
