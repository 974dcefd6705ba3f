-- What the API and people who write SQL need. Both folders hold the same names and columns.

-- Under which keys messages were made, for a week, so that they can be sent again. 'message:<key>': the key of a line, number is the message's;
-- 'request:<key>:<line>': a line of a request with a key, the same; 'lines:<key>': such a request that came to its end, number is that of its lines.
create table sent_keys (
    delivery_id bigint not null,
    key text collate "C" not null,
    number bigint not null,
    created_at timestamptz not null,
    primary key (delivery_id, key)
);
create index sent_keys_time on sent_keys using brin (created_at);

-- The same SQL runs on both databases against these. Here they are the tables with days and hours in UTC, tags joined by commas.
create view readable_hits as select
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
from hits;
create view readable_deliveries as select
    id,
    label,
    channel,
    sent_at,
    expires_at,
    expiration_url,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_term,
    utm_content,
    messages,
    created_at
from deliveries;
create view readable_contacts as select
    id,
    fields,
    array_to_string(tags, ',') as tags,
    created_at,
    changed_at
from contacts where merged_into is null;
create view readable_messages as select
    id,
    delivery_id,
    contact_id,
    format,
    created_at
from broadlogs;
