-- As on Postgres, which see. Here there is one writer: numbers become visible in their order, and no
-- block is ever open.
create table hit_blocks (
    first integer primary key not null,
    writer integer not null
);
create view open_hit_blocks as select first, writer from hit_blocks where false;

-- The horizon: up to this number no hit can appear any more.
create view hit_horizon as select value as seq from counters where name = 'hit';
