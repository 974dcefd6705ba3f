-- Who clicked, so that no report counts it in hits: a visitor, and each link of a delivery that it followed. link_id 0: none.
create table clicking_visitors (
    delivery_id integer not null,
    visitor_id blob not null,
    link_id integer not null,
    first_at integer not null,
    primary key (delivery_id, visitor_id, link_id)
) strict, without rowid;
-- How many visitors those are, for each link and under link_id 0 for the whole delivery; they stay when the visitors are removed with their hits.
create table click_figures (
    delivery_id integer not null,
    link_id integer not null,
    visitors integer not null,
    primary key (delivery_id, link_id)
) strict, without rowid;

insert into clicking_visitors (delivery_id, visitor_id, link_id, first_at)
select delivery_id, visitor_id, coalesce(link_id, 0), min(received_at) from hits
where kind = 'click' and verdict in ('human', 'suspect') and delivery_id is not null and visitor_id is not null
group by delivery_id, visitor_id, coalesce(link_id, 0);
insert into click_figures (delivery_id, link_id, visitors)
select delivery_id, link_id, count(*) from clicking_visitors where link_id <> 0 group by delivery_id, link_id;
insert into click_figures (delivery_id, link_id, visitors)
select delivery_id, 0, count(distinct visitor_id) from clicking_visitors group by delivery_id;
