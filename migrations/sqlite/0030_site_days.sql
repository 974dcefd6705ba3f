-- What came to a site on a UTC day: long periods read it, and site_figures for what is left at their ends. Both folders hold the same names and
-- columns.
create table site_days (
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
insert into site_days (at, site, kind, verdict, reason, currency, hits, new_broadlogs, distinct_broadlogs, transactions,
                          revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
select at - at % 86400000000, site, kind, verdict, reason, currency, sum(hits), sum(new_broadlogs), sum(distinct_broadlogs), sum(transactions),
       sum(revenue % 1000000000) + (sum(revenue / 1000000000) % 1000000000) * 1000000000, sum(revenue_carry) + sum(revenue / 1000000000) / 1000000000, sum(quantity),
       sum(unproved_transactions), sum(unproved_revenue % 1000000000) + (sum(unproved_revenue / 1000000000) % 1000000000) * 1000000000, sum(unproved_carry) + sum(unproved_revenue / 1000000000) / 1000000000, sum(unproved_quantity)
from site_figures group by 1, site, kind, verdict, reason, currency;
