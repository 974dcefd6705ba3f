-- What proves a hit's delivery, orders that count once, exact sums, and what is bounded a day. Both folders hold the same names and columns.

-- proof: what delivery_id and broadlog_id rest on: 'link', 'session', 'sender'; unproved: 'unsigned', 'claimed'. counted_revenue: what the hit
-- added to the revenue in the figures; 0 for a repetition, the difference for a change, none for what counts nowhere or stands apart as unproved.
alter table hits add column proof text;
alter table hits add column counted_revenue integer;

-- A sum is revenue_carry * 10^18 + revenue in 1/10,000, and so exact: a hundred hits can hold more than 64 bits. The carry is 0 below a hundred
-- trillions. unproved_*: what stands apart from revenue. transactions: orders, each once; hits of kind transaction are in hits, as often as they came.
alter table hourly_figures add column transactions integer not null default 0;
alter table hourly_figures add column revenue_carry integer not null default 0;
alter table hourly_figures add column unproved_transactions integer not null default 0;
alter table hourly_figures add column unproved_revenue integer not null default 0;
alter table hourly_figures add column unproved_carry integer not null default 0;
alter table hourly_figures add column unproved_quantity integer not null default 0;
update hourly_figures set transactions = hits where kind = 'transaction';
alter table broadlog_figures add column revenue_carry integer not null default 0;
alter table broadlog_figures add column unproved_transactions integer not null default 0;
alter table broadlog_figures add column unproved_revenue integer not null default 0;
alter table broadlog_figures add column unproved_carry integer not null default 0;
alter table broadlog_figures add column unproved_quantity integer not null default 0;

-- Orders that count, by who said so. holder: 'sender', the hex id of a visitor, or 'nobody' for browsers without any id. delivery_id, broadlog_id,
-- link_id (0: none), hour and money_currency are the place in the figures where it counts; is_proved: as revenue.
create table orders (
    order_id text not null,
    site text not null,
    currency text not null,
    holder text not null,
    visitor_id blob not null,
    delivery_id integer not null,
    broadlog_id integer not null,
    link_id integer not null,
    hour integer not null,
    money_currency text not null,
    is_proved integer not null,
    revenue integer not null,
    quantity integer not null,
    refunded integer not null,
    last_refund integer not null,
    counted_at integer not null,
    primary key (order_id, site, currency, holder)
) strict, without rowid;
create index orders_time on orders (counted_at);

-- What strangers can make only so many of a day.
create table daily_limits (
    name text primary key,
    day integer not null,
    used integer not null,
    refused integer not null
) strict;
