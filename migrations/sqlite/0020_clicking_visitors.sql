-- Who clicked, so that no report counts it in hits: each visitor once for a delivery (link_id 0) and once for each of its links.
create table clicking_visitors (
    delivery_id integer not null,
    link_id integer not null,
    visitor_id blob not null,
    first_at integer not null,
    primary key (delivery_id, link_id, visitor_id)
) strict, without rowid;
-- How many those are; they stay when the visitors are removed with their hits.
create table click_figures (
    delivery_id integer not null,
    link_id integer not null,
    visitors integer not null,
    primary key (delivery_id, link_id)
) strict, without rowid;

insert into clicking_visitors (delivery_id, link_id, visitor_id, first_at)
select delivery_id, 0, visitor_id, min(received_at) from hits
where kind = 'click' and verdict in ('human', 'suspect') and delivery_id is not null and visitor_id is not null
group by delivery_id, visitor_id;
insert into clicking_visitors (delivery_id, link_id, visitor_id, first_at)
select delivery_id, link_id, visitor_id, min(received_at) from hits
where kind = 'click' and verdict in ('human', 'suspect') and delivery_id is not null and visitor_id is not null and link_id is not null
group by delivery_id, link_id, visitor_id;
insert into click_figures (delivery_id, link_id, visitors)
select delivery_id, link_id, count(*) from clicking_visitors group by delivery_id, link_id;
