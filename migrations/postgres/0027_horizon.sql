-- Numbers of hits are taken in transactions of their own, so they no longer become visible in their
-- order by themselves. A block that was taken is open as long as the transaction that writes its
-- hits runs. It ends with that transaction, whichever way: a killed server leaves none behind.

create table hit_blocks (
    -- The least number of the block.
    first bigint primary key,
    -- txid_current() of the transaction that writes the hits.
    writer bigint not null
);

-- Who writes has its number before it takes a block, so what the snapshot does not know yet was
-- restored from another database's dump, and nobody writes it.
create view open_hit_blocks as
select first, writer from hit_blocks
where writer < txid_snapshot_xmax(txid_current_snapshot())
    and not txid_visible_in_snapshot(writer, txid_current_snapshot());

-- The horizon: up to this number no hit can appear any more. One snapshot tells the counter, the
-- blocks, and which transactions have ended.
create view hit_horizon as
select least(value, (select min(first) - 1 from open_hit_blocks)) as seq from counters where name = 'hit';

-- As before, up to the horizon.
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
    counted_revenue
from hits
where seq <= (select seq from hit_horizon);
