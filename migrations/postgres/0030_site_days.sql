-- What came to a site on a UTC day: long periods read it, and site_figures for what is left at their ends. Both folders hold the same names and
-- columns.
create table site_days (
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
insert into site_days (at, site, kind, verdict, reason, currency, hits, new_broadlogs, distinct_broadlogs, transactions,
                          revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
select date_trunc('day', at, 'UTC'), site, kind, verdict, reason, currency, sum(hits), sum(new_broadlogs), sum(distinct_broadlogs), sum(transactions),
       sum(revenue) % 100000000000000, sum(revenue_carry) + div(sum(revenue), 100000000000000), sum(quantity),
       sum(unproved_transactions), sum(unproved_revenue) % 100000000000000, sum(unproved_carry) + div(sum(unproved_revenue), 100000000000000), sum(unproved_quantity)
from site_figures group by 1, site, kind, verdict, reason, currency;
