-- What the API lists and answers once. Both folders hold the same names and columns.

-- Ids that were asked for and that nothing has. kind: 'link' (id: its number or its slug), 'token' (a link or pixel that none of our keys signed; id: the
-- link's number, 0 for a pixel), 'open' (a pixel without a message; id: its name), 'form'. referrer: the host that the last one named came from. Never
-- more than 10,000 rows: the one of kind 'other' counts those that were asked for least.
create table orphans (
    kind text not null,
    id text not null,
    asked integer not null,
    first_at integer not null,
    last_at integer not null,
    referrer text,
    primary key (kind, id)
) strict, without rowid;
create index orphans_asked on orphans (asked);

-- Answers of requests with an Idempotency-Key, for a week. request: SHA-256 of what was asked; without a status it is not answered yet, or its server ended before it was.
create table request_keys (
    actor text not null,
    key text not null,
    request blob not null,
    begun_at integer not null,
    status integer,
    content_type text,
    body blob,
    primary key (actor, key)
) strict, without rowid;
create index request_keys_time on request_keys (begun_at);

-- Imports by the command line. outcome: 'running' (or its process was killed: then told_at stands still), 'done', 'failed'.
create table imports (
    id integer primary key,
    source text not null,
    file text not null,
    outcome text not null,
    error text,
    started_at integer not null,
    told_at integer not null,
    row_count integer not null,
    made integer not null,
    changed integer not null,
    unchanged integer not null,
    ignored integer not null,
    refused integer not null,
    deliveries_made integer not null
) strict;
insert into counters (name, value) values ('import', 0);

-- Who clicked a link that belongs to no delivery: under delivery_id 0. The index has each link's browsers in their order.
insert into clicking_visitors (delivery_id, visitor_id, link_id, first_at)
select 0, visitor_id, link_id, min(received_at) from hits
where kind = 'click' and verdict in ('human', 'suspect') and delivery_id is null and link_id is not null and visitor_id is not null
group by visitor_id, link_id;
insert into click_figures (delivery_id, link_id, visitors)
select 0, link_id, count(*) from clicking_visitors where delivery_id = 0 group by link_id;
create index clicking_visitors_link on clicking_visitors (link_id, visitor_id) where delivery_id = 0;
