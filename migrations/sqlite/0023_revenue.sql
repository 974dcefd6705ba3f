-- Whom a purchase is credited to. Both folders hold the same names and columns.

-- Revenue by UTC day and model ('session', 'first_touch', 'last_touch', 'linear'). delivery_id and link_id 0, texts '': none. A sum is revenue_carry * 10^18 + revenue in 1/10,000.
create table revenue_figures (
    day integer not null,
    model text not null,
    site text not null,
    delivery_id integer not null,
    link_id integer not null,
    campaign text not null,
    currency text not null,
    transactions integer not null,
    revenue integer not null,
    revenue_carry integer not null,
    quantity integer not null,
    primary key (day, model, site, delivery_id, link_id, campaign, currency)
) strict, without rowid;

-- What led to an order, as a JSON array of [delivery_id, link_id, campaign], so that what it earned can be taken back.
alter table orders add column touches text not null default '[]';
