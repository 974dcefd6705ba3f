-- Figures of a quarter of an hour (local days begin on one everywhere), by site, verdict and its reason. Both folders hold the same names and
-- columns. delivery_id and link_id 0, texts '': none. new_broadlogs: messages whose first trace it was; distinct_broadlogs: messages whose first
-- hit of the kind it was, so a sum over time is the number of messages. Money stands under 'human'; a sum is revenue_carry * 10^14 + revenue.
-- verdict 'machine': hits that earlier versions counted, which did not tell machines apart.
create table time_figures (
    delivery_id bigint not null,
    at timestamptz not null,
    kind text collate "C" not null,
    link_id bigint not null,
    currency text collate "C" not null,
    site text collate "C" not null,
    verdict text collate "C" not null,
    reason text collate "C" not null,
    hits bigint not null,
    new_broadlogs bigint not null,
    distinct_broadlogs bigint not null,
    transactions bigint not null,
    revenue numeric not null,
    revenue_carry bigint not null,
    quantity bigint not null,
    unproved_transactions bigint not null,
    unproved_revenue numeric not null,
    unproved_carry bigint not null,
    unproved_quantity bigint not null,
    primary key (delivery_id, at, kind, link_id, currency, site, verdict, reason)
) with (fillfactor = 80);
-- The same without the time and the site: the totals of a delivery and of each link. What has neither is not here.
create table delivery_figures (
    delivery_id bigint not null,
    link_id bigint not null,
    kind text collate "C" not null,
    verdict text collate "C" not null,
    reason text collate "C" not null,
    currency text collate "C" not null,
    hits bigint not null,
    new_broadlogs bigint not null,
    distinct_broadlogs bigint not null,
    transactions bigint not null,
    revenue numeric not null,
    revenue_carry bigint not null,
    quantity bigint not null,
    unproved_transactions bigint not null,
    unproved_revenue numeric not null,
    unproved_carry bigint not null,
    unproved_quantity bigint not null,
    primary key (delivery_id, link_id, kind, verdict, reason, currency)
) with (fillfactor = 80);
-- The same without delivery and link: what came to a site.
create table site_figures (
    at timestamptz not null,
    site text collate "C" not null,
    kind text collate "C" not null,
    verdict text collate "C" not null,
    reason text collate "C" not null,
    currency text collate "C" not null,
    hits bigint not null,
    new_broadlogs bigint not null,
    distinct_broadlogs bigint not null,
    transactions bigint not null,
    revenue numeric not null,
    revenue_carry bigint not null,
    quantity bigint not null,
    unproved_transactions bigint not null,
    unproved_revenue numeric not null,
    unproved_carry bigint not null,
    unproved_quantity bigint not null,
    primary key (at, site, kind, verdict, reason, currency)
) with (fillfactor = 80);
-- Sites that figures tell apart, beside 'default'. A page says its site, so there can be any number of names.
create table counted_sites (site text collate "C" primary key);

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
       sum(revenue) % 100000000000000, sum(revenue_carry) + div(sum(revenue), 100000000000000), sum(quantity),
       sum(unproved_transactions), sum(unproved_revenue) % 100000000000000, sum(unproved_carry) + div(sum(unproved_revenue), 100000000000000), sum(unproved_quantity)
from time_figures where delivery_id <> 0 or link_id <> 0 group by delivery_id, link_id, kind, verdict, reason, currency;
insert into site_figures (at, site, kind, verdict, reason, currency, hits, new_broadlogs, distinct_broadlogs, transactions,
                          revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
select at, site, kind, verdict, reason, currency, sum(hits), sum(new_broadlogs), sum(distinct_broadlogs), sum(transactions),
       sum(revenue) % 100000000000000, sum(revenue_carry) + div(sum(revenue), 100000000000000), sum(quantity),
       sum(unproved_transactions), sum(unproved_revenue) % 100000000000000, sum(unproved_carry) + div(sum(unproved_revenue), 100000000000000), sum(unproved_quantity)
from time_figures group by at, site, kind, verdict, reason, currency;
