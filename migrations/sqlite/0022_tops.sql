-- What most people looked at and where they came from. Both folders hold the same names and columns.

-- Hits of a UTC day by page (without its query), referring host and campaign (utm_source, utm_medium and utm_campaign, joined by tabs).
-- dimension: 'page', 'referrer', 'campaign'; value '': all that had no room of their own.
create table top_figures (
    day integer not null,
    site text not null,
    dimension text not null,
    kind text not null,
    value text not null,
    hits integer not null,
    primary key (day, site, dimension, kind, value)
) strict, without rowid;
-- How many values a day has.
create table top_sizes (
    day integer not null,
    site text not null,
    dimension text not null,
    kind text not null,
    size integer not null,
    primary key (day, site, dimension, kind)
) strict, without rowid;
-- Unique visitors of a half hour: a HyperLogLog sketch in the format of Apache DataSketches, of the 16 bytes of each visitor's id.
create table visitor_sketches (
    at integer not null,
    site text not null,
    sketch blob not null,
    primary key (at, site)
) strict, without rowid;
