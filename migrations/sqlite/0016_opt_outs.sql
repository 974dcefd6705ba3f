-- Contacts that have unsubscribed: since when, and from which delivery. Both folders hold the same names and columns.
create table opt_outs (
    contact_id blob not null primary key,
    opted_out_at integer not null,
    delivery_id integer
) strict, without rowid;
create view readable_opt_outs as select
    nullif(lower(substr(hex(contact_id), 1, 8) || '-' || substr(hex(contact_id), 9, 4) || '-' || substr(hex(contact_id), 13, 4) || '-' || substr(hex(contact_id), 17, 4) || '-' || substr(hex(contact_id), 21)), '----') as contact_id,
    strftime('%Y-%m-%d %H:%M:%S', (opted_out_at - ((opted_out_at % 1000000 + 1000000) % 1000000)) / 1000000, 'unixepoch') || printf('.%06d', ((opted_out_at % 1000000 + 1000000) % 1000000)) as opted_out_at,
    delivery_id
from opt_outs;

-- Opt-outs from messages of the old system that it is still to be told of: by the message's name there. Tried again until it answers.
create table untold_opt_outs (
    message_key text not null primary key,
    asked_at integer not null,
    attempts integer not null default 0,
    next_at integer not null
) strict, without rowid;
