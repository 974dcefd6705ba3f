-- The HTML and the text of a delivery's mail. Both folders hold the same names and columns.

create table delivery_contents (
    delivery_id bigint primary key references deliveries (id),
    -- As they were given.
    html text,
    text text,
    -- What messages have in place of ranges of them.
    edits jsonb not null,
    -- The links of the mail by their places in it, then those that it had once.
    links jsonb not null,
    changed_at timestamptz not null
);
