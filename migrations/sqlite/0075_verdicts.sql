-- A verdict can change, and figures follow. Both folders hold the same names and columns.

-- The verdict that a hit had at first, with its reasons; null while it has it still.
alter table hits add column first_verdict text;
alter table hits add column first_reason text;

-- The hits that a message's figures count, in the order in which they were counted, so that one can be taken back: see
-- store/figures/listed.rs. Null: an earlier version counted them; sillage recount --repair lists them.
alter table broadlog_figures add column hits blob;

-- How often each visitor clicked: when the last click is taken back, the visitor goes.
alter table clicking_visitors add column clicks integer not null default 0;

-- What people decided of hits. It holds whatever the rules say later.
create table verdict_decisions (
    seq integer primary key not null,
    hit_id blob not null,
    verdict text not null,
    reason text not null,
    decided_by text not null,
    decided_at integer not null
) strict;

-- What led to purchases, as a JSON array of [delivery_id, link_id, campaign], so that what they are credited to can change.
create table purchase_touches (
    seq integer primary key not null,
    received_at integer not null,
    touches text not null
) strict;

-- Half hours whose sketch still has visitors that were taken back: a sketch gives none back, so it is made anew from the hits.
create table stale_sketches (
    at integer not null,
    site text not null,
    -- How often somebody was taken back since.
    marks integer not null,
    primary key (at, site)
) strict, without rowid;

drop view readable_hits;
create view readable_hits as select
    seq,
    nullif(lower(substr(hex(id), 1, 8) || '-' || substr(hex(id), 9, 4) || '-' || substr(hex(id), 13, 4) || '-' || substr(hex(id), 17, 4) || '-' || substr(hex(id), 21)), '----') as id,
    date(received_at / 1000000, 'unixepoch') as day,
    cast(strftime('%H', received_at / 1000000, 'unixepoch') as integer) as hour,
    strftime('%Y-%m-%d %H:%M:%S', (received_at - ((received_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((received_at % 1000000 + 1000000) % 1000000)) as received_at,
    strftime('%Y-%m-%d %H:%M:%S', (occurred_at - ((occurred_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((occurred_at % 1000000 + 1000000) % 1000000)) as occurred_at,
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
    nullif(lower(substr(hex(visitor_id), 1, 8) || '-' || substr(hex(visitor_id), 9, 4) || '-' || substr(hex(visitor_id), 13, 4) || '-' || substr(hex(visitor_id), 17, 4) || '-' || substr(hex(visitor_id), 21)), '----') as visitor_id,
    nullif(lower(substr(hex(contact_id), 1, 8) || '-' || substr(hex(contact_id), 9, 4) || '-' || substr(hex(contact_id), 13, 4) || '-' || substr(hex(contact_id), 17, 4) || '-' || substr(hex(contact_id), 21)), '----') as contact_id,
    revenue / 10000.0 as revenue,
    case when revenue < 0 then '-' else '' end || (abs(revenue) / 10000) || printf('.%04d', abs(revenue) % 10000) as revenue_text,
    currency,
    order_id,
    quantity,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_term,
    utm_content,
    (select group_concat(value, ',') from json_each(hits.tags)) as tags,
    event,
    ip,
    user_agent,
    verdict,
    reason,
    extra,
    proof,
    counted_revenue / 10000.0 as counted_revenue,
    first_verdict,
    first_reason
from hits;
