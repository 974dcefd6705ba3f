-- A verdict can change, and figures follow. Both folders hold the same names and columns.

-- The verdict that a hit had at first, with its reasons; null while it has it still.
alter table hits add column first_verdict text, add column first_reason text;

-- The hits that a message's figures count, in the order in which they were counted, so that one can be taken back: see
-- store/figures/listed.rs. Null: an earlier version counted them; sillage recount --repair lists them.
alter table broadlog_figures add column hits bytea;

-- How often each visitor clicked: when the last click is taken back, the visitor goes.
alter table clicking_visitors add column clicks bigint not null default 0;

-- What people decided of hits. It holds whatever the rules say later.
create table verdict_decisions (
    seq bigint primary key,
    hit_id uuid not null,
    verdict text not null,
    reason text not null,
    decided_by text not null,
    decided_at timestamptz not null
);

-- What led to purchases, as a JSON array of [delivery_id, link_id, campaign], so that what they are credited to can change.
create table purchase_touches (
    seq bigint primary key,
    received_at timestamptz not null,
    touches text not null
);
create index purchase_touches_time on purchase_touches using brin (received_at);

-- Half hours whose sketch still has visitors that were taken back: a sketch gives none back, so it is made anew from the hits.
create table stale_sketches (
    at timestamptz not null,
    site text collate "C" not null,
    -- How often somebody was taken back since.
    marks bigint not null,
    primary key (at, site)
);

create or replace view readable_hits as select
    seq,
    id,
    (received_at at time zone 'UTC')::date as day,
    extract(hour from received_at at time zone 'UTC')::integer as hour,
    received_at,
    occurred_at,
    kind,
    dialect,
    site,
    page_url,
    page_title,
    page_language,
    referrer,
    page_tag,
    delivery_id,
    broadlog_id,
    link_id,
    visitor_id,
    contact_id,
    revenue,
    revenue::text as revenue_text,
    currency,
    order_id,
    quantity,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_term,
    utm_content,
    array_to_string(tags, ',') as tags,
    event,
    host(ip) as ip,
    user_agent,
    verdict,
    reason,
    extra,
    proof,
    counted_revenue,
    first_verdict,
    first_reason
from hits
where seq <= (select seq from hit_horizon);
