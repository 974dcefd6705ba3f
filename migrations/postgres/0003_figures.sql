-- What proves a hit's delivery, orders that count once, exact sums, and what is bounded a day. Both folders hold the same names and columns.

-- proof: what delivery_id and broadlog_id rest on: 'link', 'session', 'sender'; unproved: 'unsigned', 'claimed'. counted_revenue: what the hit
-- added to the revenue in the figures; 0 for a repetition, the difference for a change, none for what counts nowhere or stands apart as unproved.
alter table hits add column proof text, add column counted_revenue numeric;

-- A sum is revenue_carry * 10^14 + revenue, and so exact: a hundred hits can hold more than 64 bits. The carry is 0 below a hundred trillions.
-- unproved_*: what stands apart from revenue. transactions: orders, each once; hits of kind transaction are in hits, as often as they came.
alter table hourly_figures
    add column transactions bigint not null default 0,
    add column revenue_carry bigint not null default 0,
    add column unproved_transactions bigint not null default 0,
    add column unproved_revenue numeric not null default 0,
    add column unproved_carry bigint not null default 0,
    add column unproved_quantity bigint not null default 0;
update hourly_figures set transactions = hits where kind = 'transaction';
alter table broadlog_figures
    add column revenue_carry bigint not null default 0,
    add column unproved_transactions bigint not null default 0,
    add column unproved_revenue numeric not null default 0,
    add column unproved_carry bigint not null default 0,
    add column unproved_quantity bigint not null default 0;

-- Orders that count, by who said so. holder: 'sender', the hex id of a visitor, or 'nobody' for browsers without any id. delivery_id, broadlog_id,
-- link_id (0: none), hour and money_currency are the place in the figures where it counts; is_proved: as revenue.
create table orders (
    order_id text collate "C" not null,
    site text collate "C" not null,
    currency text collate "C" not null,
    holder text collate "C" not null,
    visitor_id uuid not null,
    delivery_id bigint not null,
    broadlog_id bigint not null,
    link_id bigint not null,
    hour timestamptz not null,
    money_currency text not null,
    is_proved bigint not null,
    revenue numeric not null,
    quantity bigint not null,
    refunded numeric not null,
    last_refund numeric not null,
    counted_at timestamptz not null,
    primary key (order_id, site, currency, holder)
);
create index orders_time on orders (counted_at);

-- What strangers can make only so many of a day.
create table daily_limits (
    name text primary key,
    day timestamptz not null,
    used bigint not null,
    refused bigint not null
);
