-- Figures of a quarter of an hour (local days begin on one everywhere), by site, verdict and its reason. Both folders hold the same names and
-- columns. delivery_id and link_id 0, texts '': none. new_broadlogs: messages whose first trace it was; distinct_broadlogs: messages whose first
-- hit of the kind it was, so a sum over time is the number of messages. Money stands under 'human'; a sum is revenue_carry * 10^18 + revenue in 1/10,000.
-- verdict 'machine': hits that earlier versions counted, which did not tell machines apart.
create table time_figures (
    delivery_id integer not null,
    at integer not null,
    kind text not null,
    link_id integer not null,
    currency text not null,
    site text not null,
    verdict text not null,
    reason text not null,
    hits integer not null,
    new_broadlogs integer not null,
    distinct_broadlogs integer not null,
    transactions integer not null,
    revenue integer not null,
    revenue_carry integer not null,
    quantity integer not null,
    unproved_transactions integer not null,
    unproved_revenue integer not null,
    unproved_carry integer not null,
    unproved_quantity integer not null,
    primary key (delivery_id, at, kind, link_id, currency, site, verdict, reason)
) strict, without rowid;
-- The same without the time and the site: the totals of a delivery and of each link. What has neither is not here.
create table delivery_figures (
    delivery_id integer not null,
    link_id integer not null,
    kind text not null,
    verdict text not null,
    reason text not null,
    currency text not null,
    hits integer not null,
    new_broadlogs integer not null,
    distinct_broadlogs integer not null,
    transactions integer not null,
    revenue integer not null,
    revenue_carry integer not null,
    quantity integer not null,
    unproved_transactions integer not null,
    unproved_revenue integer not null,
    unproved_carry integer not null,
    unproved_quantity integer not null,
    primary key (delivery_id, link_id, kind, verdict, reason, currency)
) strict, without rowid;
-- The same without delivery and link: what came to a site.
create table site_figures (
    at integer not null,
    site text not null,
    kind text not null,
    verdict text not null,
    reason text not null,
    currency text not null,
    hits integer not null,
    new_broadlogs integer not null,
    distinct_broadlogs integer not null,
    transactions integer not null,
    revenue integer not null,
    revenue_carry integer not null,
    quantity integer not null,
    unproved_transactions integer not null,
    unproved_revenue integer not null,
    unproved_carry integer not null,
    unproved_quantity integer not null,
    primary key (at, site, kind, verdict, reason, currency)
) strict, without rowid;
-- Sites that figures tell apart, beside 'default'. A page says its site, so there can be any number of names.
create table counted_sites (site text not null primary key) strict, without rowid;

insert into time_figures (delivery_id, at, kind, link_id, currency, site, verdict, reason, hits, new_broadlogs, distinct_broadlogs, transactions,
                          revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
select delivery_id, hour, kind, link_id, currency, '', 'human', '', hits, new_broadlogs, distinct_broadlogs, transactions,
       revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity
from hourly_figures;
insert into time_figures (delivery_id, at, kind, link_id, currency, site, verdict, reason, hits, new_broadlogs, distinct_broadlogs, transactions,
                          revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
select delivery_id, hour, kind, link_id, currency, '', 'machine', '', machine_hits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
from hourly_figures where machine_hits <> 0;
drop table hourly_figures;
insert into delivery_figures (delivery_id, link_id, kind, verdict, reason, currency, hits, new_broadlogs, distinct_broadlogs, transactions,
                          revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
select delivery_id, link_id, kind, verdict, reason, currency, sum(hits), sum(new_broadlogs), sum(distinct_broadlogs), sum(transactions),
       sum(revenue % 1000000000) + (sum(revenue / 1000000000) % 1000000000) * 1000000000, sum(revenue_carry) + sum(revenue / 1000000000) / 1000000000, sum(quantity),
       sum(unproved_transactions), sum(unproved_revenue % 1000000000) + (sum(unproved_revenue / 1000000000) % 1000000000) * 1000000000, sum(unproved_carry) + sum(unproved_revenue / 1000000000) / 1000000000, sum(unproved_quantity)
from time_figures where delivery_id <> 0 or link_id <> 0 group by delivery_id, link_id, kind, verdict, reason, currency;
insert into site_figures (at, site, kind, verdict, reason, currency, hits, new_broadlogs, distinct_broadlogs, transactions,
                          revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
select at, site, kind, verdict, reason, currency, sum(hits), sum(new_broadlogs), sum(distinct_broadlogs), sum(transactions),
       sum(revenue % 1000000000) + (sum(revenue / 1000000000) % 1000000000) * 1000000000, sum(revenue_carry) + sum(revenue / 1000000000) / 1000000000, sum(quantity),
       sum(unproved_transactions), sum(unproved_revenue % 1000000000) + (sum(unproved_revenue / 1000000000) % 1000000000) * 1000000000, sum(unproved_carry) + sum(unproved_revenue / 1000000000) / 1000000000, sum(unproved_quantity)
from time_figures group by at, site, kind, verdict, reason, currency;
