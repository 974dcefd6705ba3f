-- What the API and people who write SQL need. Both folders hold the same names and columns.

-- Under which keys messages were made, for a week, so that they can be sent again. 'message:<key>': the key of a line, number is the message's;
-- 'request:<key>:<line>': a line of a request with a key, the same; 'lines:<key>': such a request that came to its end, number is that of its lines.
create table sent_keys (
    delivery_id integer not null,
    key text not null,
    number integer not null,
    created_at integer not null,
    primary key (delivery_id, key)
) strict, without rowid;
create index sent_keys_time on sent_keys (created_at);

-- The same SQL runs on both databases against these: times as SQLite's own functions read them (UTC, sorted as texts are), amounts as numbers
-- and as exact texts, ids as texts, tags joined by commas. Whole sums are exact in the tables: sum(hits.revenue) in ten-thousandths.
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
    counted_revenue / 10000.0 as counted_revenue
from hits;
create view readable_deliveries as select
    id,
    label,
    channel,
    strftime('%Y-%m-%d %H:%M:%S', (sent_at - ((sent_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((sent_at % 1000000 + 1000000) % 1000000)) as sent_at,
    strftime('%Y-%m-%d %H:%M:%S', (expires_at - ((expires_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((expires_at % 1000000 + 1000000) % 1000000)) as expires_at,
    expiration_url,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_term,
    utm_content,
    messages,
    strftime('%Y-%m-%d %H:%M:%S', (created_at - ((created_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((created_at % 1000000 + 1000000) % 1000000)) as created_at
from deliveries;
create view readable_contacts as select
    nullif(lower(substr(hex(id), 1, 8) || '-' || substr(hex(id), 9, 4) || '-' || substr(hex(id), 13, 4) || '-' || substr(hex(id), 17, 4) || '-' || substr(hex(id), 21)), '----') as id,
    fields,
    (select group_concat(value, ',') from json_each(contacts.tags)) as tags,
    strftime('%Y-%m-%d %H:%M:%S', (created_at - ((created_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((created_at % 1000000 + 1000000) % 1000000)) as created_at,
    strftime('%Y-%m-%d %H:%M:%S', (changed_at - ((changed_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((changed_at % 1000000 + 1000000) % 1000000)) as changed_at
from contacts where merged_into is null;
create view readable_messages as select
    id,
    delivery_id,
    nullif(lower(substr(hex(contact_id), 1, 8) || '-' || substr(hex(contact_id), 9, 4) || '-' || substr(hex(contact_id), 13, 4) || '-' || substr(hex(contact_id), 17, 4) || '-' || substr(hex(contact_id), 21)), '----') as contact_id,
    format,
    strftime('%Y-%m-%d %H:%M:%S', (created_at - ((created_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((created_at % 1000000 + 1000000) % 1000000)) as created_at
from broadlogs;
