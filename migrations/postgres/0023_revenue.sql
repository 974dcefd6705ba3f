-- Whom a purchase is credited to. Both folders hold the same names and columns.

-- Revenue by UTC day and model ('session', 'first_touch', 'last_touch', 'linear'). delivery_id and link_id 0, texts '': none. A sum is revenue_carry * 10^14 + revenue.
create table revenue_figures (
    day timestamptz not null,
    model text collate "C" not null,
    site text collate "C" not null,
    delivery_id bigint not null,
    link_id bigint not null,
    campaign text collate "C" not null,
    currency text collate "C" not null,
    transactions bigint not null,
    revenue numeric not null,
    revenue_carry bigint not null,
    quantity bigint not null,
    primary key (day, model, site, delivery_id, link_id, campaign, currency)
) with (fillfactor = 80);

-- What led to an order, as a JSON array of [delivery_id, link_id, campaign], so that what it earned can be taken back.
alter table orders add column touches text not null default '[]';
