-- For analysts: the same SQL runs on both databases. Both folders hold the same names and columns.

-- Hits by people, those that figures count, up to the horizon.
create view v_human_hits as select
    seq, id, day, hour, received_at, occurred_at, kind, dialect, site, page_url, page_title, page_language, referrer, page_tag, delivery_id, broadlog_id, link_id,
    visitor_id, contact_id, revenue, revenue_text, currency, order_id, quantity, utm_source, utm_medium, utm_campaign, utm_term, utm_content, tags, event, ip,
    user_agent, verdict, reason, extra, proof, counted_revenue
from readable_hits where verdict in ('human', 'suspect');

-- What came of a delivery on each UTC day, from the figures that reports read. first_traces: messages that left their first trace on it; first_clicks: messages
-- that were clicked for the first time; transactions: orders.
create view v_delivery_daily as select
    date(f.at / 1000000, 'unixepoch') as day,
    f.delivery_id,
    (select d.label from deliveries d where d.id = f.delivery_id) as label,
    sum(case when f.kind = 'open' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as opens,
    sum(case when f.kind = 'click' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as clicks,
    sum(case when f.kind = 'pageview' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as pageviews,
    sum(case when f.kind = 'form' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as forms,
    sum(case when f.kind = 'event' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as events,
    sum(case when f.kind = 'optout' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as optouts,
    sum(case when f.kind = 'mirror' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as mirrors,
    sum(f.transactions) as transactions,
    sum(f.new_broadlogs) as first_traces,
    sum(case when f.kind = 'click' then f.distinct_broadlogs else 0 end) as first_clicks,
    sum(case when f.verdict in ('human', 'suspect') then 0 else f.hits end) as machine_hits
from time_figures f where f.delivery_id <> 0
group by 1, 2;

-- Clicks on a link on each UTC day, short links too.
create view v_link_daily as select
    date(f.at / 1000000, 'unixepoch') as day,
    f.link_id,
    (select l.delivery_id from links l where l.id = f.link_id) as delivery_id,
    (select l.slug from links l where l.id = f.link_id) as slug,
    (select l.url from links l where l.id = f.link_id) as url,
    (select l.label from links l where l.id = f.link_id) as label,
    sum(case when f.kind = 'click' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as clicks,
    sum(case when f.kind = 'optout' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as optouts,
    sum(case when f.kind = 'mirror' and f.verdict in ('human', 'suspect') then f.hits else 0 end) as mirrors,
    sum(f.transactions) as transactions,
    sum(case when f.verdict in ('human', 'suspect') then 0 else f.hits end) as machine_clicks
from time_figures f where f.link_id <> 0
group by 1, 2;

-- Revenue of a delivery in each currency, as its report has it. unproved_: what nothing signed vouches for.
create view v_revenue_by_delivery as select
    f.delivery_id,
    (select d.label from deliveries d where d.id = f.delivery_id) as label,
    nullif(f.currency, '') as currency,
    sum(f.transactions) as transactions,
    sum(f.quantity) as items,
    (sum(f.revenue_carry) * 100000000000000.0 + sum(f.revenue / 10000.0)) as revenue,
    sum(f.unproved_transactions) as unproved_transactions,
    (sum(f.unproved_carry) * 100000000000000.0 + sum(f.unproved_revenue / 10000.0)) as unproved_revenue
from delivery_figures f where f.delivery_id <> 0 and f.kind = 'transaction'
group by f.delivery_id, f.currency;

-- What each contact did, up to the horizon; hits of contacts that were merged into it are its own.
create view v_contact_activity as
with persons as (
    select id as contact_id, id as had from contacts where merged_into is null
    union all
    select merged_into as contact_id, id as had from contacts where merged_into is not null
)
select
    nullif(lower(substr(hex(p.contact_id), 1, 8) || '-' || substr(hex(p.contact_id), 9, 4) || '-' || substr(hex(p.contact_id), 13, 4) || '-' || substr(hex(p.contact_id), 17, 4) || '-' || substr(hex(p.contact_id), 21)), '----') as contact_id,
    strftime('%Y-%m-%d %H:%M:%S', (min(h.received_at) - ((min(h.received_at) % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((min(h.received_at) % 1000000 + 1000000) % 1000000)) as first_at,
    strftime('%Y-%m-%d %H:%M:%S', (max(h.received_at) - ((max(h.received_at) % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((max(h.received_at) % 1000000 + 1000000) % 1000000)) as last_at,
    count(*) as hits,
    sum(case when h.kind = 'open' then 1 else 0 end) as opens,
    sum(case when h.kind = 'click' then 1 else 0 end) as clicks,
    sum(case when h.kind = 'pageview' then 1 else 0 end) as pageviews,
    sum(case when h.kind = 'transaction' then 1 else 0 end) as purchases,
    sum(case when h.kind = 'form' then 1 else 0 end) as forms,
    sum(case when h.kind = 'event' then 1 else 0 end) as events,
    sum(case when h.kind = 'optout' then 1 else 0 end) as optouts,
    count(distinct h.delivery_id) as deliveries
from persons p join hits h on h.contact_id = p.had
where h.verdict in ('human', 'suspect') and h.seq <= (select seq from hit_horizon)
group by p.contact_id;
