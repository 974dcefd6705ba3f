-- What the API lists and answers once. Both folders hold the same names and columns.

-- Ids that were asked for and that nothing has. kind: 'link' (id: its number or its slug), 'token' (a link or pixel that none of our keys signed; id: the
-- link's number, 0 for a pixel), 'open' (a pixel without a message; id: its name), 'form'. referrer: the host that the last one named came from. Never
-- more than 10,000 rows: the one of kind 'other' counts those that were asked for least.
create table orphans (
    kind text collate "C" not null,
    id text collate "C" not null,
    asked bigint not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    referrer text,
    primary key (kind, id)
);
create index orphans_asked on orphans (asked);

-- Answers of requests with an Idempotency-Key, for a week. request: SHA-256 of what was asked; without a status it is not answered yet, or its server ended before it was.
create table request_keys (
    actor text collate "C" not null,
    key text collate "C" not null,
    request bytea not null,
    begun_at timestamptz not null,
    status bigint,
    content_type text,
    body bytea,
    primary key (actor, key)
);
create index request_keys_time on request_keys using brin (begun_at);

-- Imports by the command line. outcome: 'running' (or its process was killed: then told_at stands still), 'done', 'failed'.
create table imports (
    id bigint primary key,
    source text not null,
    file text not null,
    outcome text not null,
    error text,
    started_at timestamptz not null,
    told_at timestamptz not null,
    row_count bigint not null,
    made bigint not null,
    changed bigint not null,
    unchanged bigint not null,
    ignored bigint not null,
    refused bigint not null,
    deliveries_made bigint not null
);
insert into counters (name, value) values ('import', 0);

-- Who clicked a link that belongs to no delivery: under delivery_id 0. The index has each link's browsers in their order.
insert into clicking_visitors (delivery_id, visitor_id, link_id, first_at)
select 0, visitor_id, link_id, min(received_at) from hits
where kind = 'click' and verdict in ('human', 'suspect') and delivery_id is null and link_id is not null and visitor_id is not null
group by visitor_id, link_id;
insert into click_figures (delivery_id, link_id, visitors)
select 0, link_id, count(*) from clicking_visitors where delivery_id = 0 group by link_id;
create index clicking_visitors_link on clicking_visitors (link_id, visitor_id) where delivery_id = 0;
