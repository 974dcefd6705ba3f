-- What most people looked at and where they came from. Both folders hold the same names and columns.

-- Hits of a UTC day by page (without its query), referring host and campaign (utm_source, utm_medium and utm_campaign, joined by tabs).
-- dimension: 'page', 'referrer', 'campaign'; value '': all that had no room of their own.
create table top_figures (
    day timestamptz not null,
    site text collate "C" not null,
    dimension text collate "C" not null,
    kind text collate "C" not null,
    value text collate "C" not null,
    hits bigint not null,
    primary key (day, site, dimension, kind, value)
) with (fillfactor = 80);
-- How many values a day has.
create table top_sizes (
    day timestamptz not null,
    site text collate "C" not null,
    dimension text collate "C" not null,
    kind text collate "C" not null,
    size bigint not null,
    primary key (day, site, dimension, kind)
) with (fillfactor = 80);
-- Unique visitors of a half hour: a HyperLogLog sketch in the format of Apache DataSketches, of the 16 bytes of each visitor's id.
create table visitor_sketches (
    at timestamptz not null,
    site text collate "C" not null,
    sketch bytea not null,
    primary key (at, site)
) with (fillfactor = 60);
