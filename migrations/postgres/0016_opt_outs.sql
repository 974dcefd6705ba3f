-- Contacts that have unsubscribed: since when, and from which delivery. Both folders hold the same names and columns.
create table opt_outs (
    contact_id uuid primary key,
    opted_out_at timestamptz not null,
    delivery_id bigint
);
create view readable_opt_outs as select contact_id, opted_out_at, delivery_id from opt_outs;

-- Opt-outs from messages of the old system that it is still to be told of: by the message's name there. Tried again until it answers.
create table untold_opt_outs (
    message_key text collate "C" primary key,
    asked_at timestamptz not null,
    attempts bigint not null default 0,
    next_at timestamptz not null
);
