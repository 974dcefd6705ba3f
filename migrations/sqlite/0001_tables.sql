-- The first set of tables. The Postgres folder holds the same names and columns; a test compares the two.
-- Times are microseconds since 1970, UTC; UUIDs 16 bytes; amounts 1/10,000; arrays and objects JSON text.

create table deliveries (
    id integer primary key,
    label text not null,
    channel text not null,
    sent_at integer,
    expires_at integer,
    expiration_url text,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    messages integer not null default 0,
    created_at integer not null,
    changed_at integer not null
) strict;

create table links (
    id integer primary key,
    delivery_id integer references deliveries (id),
    slug text unique,
    url text not null,
    label text,
    category text,
    created_at integer not null,
    changed_at integer not null
) strict;
create index links_delivery on links (delivery_id);
create index links_changed on links (changed_at);

-- A person. merged_into is the surviving contact, always the last of the chain.
create table contacts (
    id blob primary key,
    fields text not null,
    tags text not null,
    merged_into blob,
    created_at integer not null,
    changed_at integer not null
) strict;
create index contacts_merged on contacts (merged_into) where merged_into is not null;

-- The values of unique fields, lower case and trimmed: who has a row here has the value.
create table contact_keys (
    field text not null,
    value text not null,
    contact_id blob not null,
    primary key (field, value)
) strict, without rowid;
create index contact_keys_contact on contact_keys (contact_id);

-- Browsers whose person is known. Unknown ones have hits only.
create table visitors (
    id blob primary key,
    contact_id blob not null,
    changed_at integer not null
) strict, without rowid;
create index visitors_contact on visitors (contact_id);

create table broadlogs (
    id integer primary key,
    delivery_id integer not null,
    contact_id blob not null,
    format text,
    created_at integer not null
) strict;
-- Reports subtract the messages that cannot tell that they were opened; few are text only, so the index is small.
create index broadlogs_text on broadlogs (delivery_id) where format = 'text';

-- seq is the order of storage: rows of a transaction that commits later have higher numbers (the
-- projection's lock sees to it), so reading on from a seq skips nothing and repeats nothing.
create table hits (
    seq integer not null,
    id blob not null,
    received_at integer not null,
    occurred_at integer,
    kind text not null,
    dialect text not null,
    site text not null,
    page_url text,
    page_title text,
    page_language text,
    referrer text,
    page_tag text,
    delivery_id integer,
    broadlog_id integer,
    link_id integer,
    visitor_id blob,
    contact_id blob,
    revenue integer,
    currency text,
    order_id text,
    quantity integer,
    utm_source text,
    utm_medium text,
    utm_campaign text,
    utm_term text,
    utm_content text,
    tags text,
    event text,
    ip text,
    user_agent text,
    verdict text not null,
    reason text,
    extra text,
    primary key (seq)
) strict;
create index hits_time on hits (received_at);
-- Hits are read by seq, going on from a number: a person's or a delivery's come out of these in that order, without a sort (seq is the
-- rowid, with which every index ends).
create index hits_contact on hits (contact_id) where contact_id is not null;
create index hits_delivery on hits (delivery_id) where delivery_id is not null;
-- Only hits without a person are looked up by visitor: to complete them when the person is known.
create index hits_visitor on hits (visitor_id) where visitor_id is not null and contact_id is null;

-- Figures of a message. Opens and clicks stand in the row without a currency, money in a row for each currency.
create table broadlog_figures (
    broadlog_id integer not null,
    currency text not null,
    delivery_id integer not null,
    first_open_at integer,
    first_click_at integer,
    opens integer not null,
    clicks integer not null,
    pages integer not null,
    transactions integer not null,
    revenue integer not null,
    quantity integer not null,
    primary key (broadlog_id, currency)
) strict, without rowid;

-- Figures of an hour. delivery_id and link_id 0, currency '': none. distinct_broadlogs counts messages whose first hit of the kind fell
-- into the hour, so a sum over hours is the number of messages; new_broadlogs the same for the first hit of any kind. machine_hits are those of bots, scanners and prefetches.
create table hourly_figures (
    delivery_id integer not null,
    hour integer not null,
    kind text not null,
    link_id integer not null,
    currency text not null,
    hits integer not null,
    new_broadlogs integer not null,
    distinct_broadlogs integer not null,
    machine_hits integer not null,
    revenue integer not null,
    quantity integer not null,
    primary key (delivery_id, hour, kind, link_id, currency)
) strict, without rowid;

-- How far the database has read each server's spool; written in the transaction that writes the hits.
create table spool_positions (
    spool_id blob primary key,
    position integer not null,
    changed_at integer not null
) strict, without rowid;

create table idempotency_keys (
    scope text not null,
    key text not null,
    received_at integer not null,
    primary key (scope, key)
) strict, without rowid;
create index idempotency_keys_time on idempotency_keys (received_at);

-- Records that the database refused, as they stood in the spool.
create table quarantine (
    id blob primary key,
    spool_id blob not null,
    position integer not null,
    quarantined_at integer not null,
    reason text not null,
    body blob not null
) strict;

-- The last numbers given out: 'delivery', 'link', 'broadlog', 'hit'.
create table counters (
    name text primary key,
    value integer not null
) strict;
insert into counters (name, value) values ('delivery', 0), ('link', 0), ('broadlog', 0), ('hit', 0);
