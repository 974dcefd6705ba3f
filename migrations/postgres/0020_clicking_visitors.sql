-- Who clicked, so that no report counts it in hits: a visitor, and each link of a delivery that it followed. link_id 0: none.
create table clicking_visitors (
    delivery_id bigint not null,
    visitor_id uuid not null,
    link_id bigint not null,
    first_at timestamptz not null,
    primary key (delivery_id, visitor_id, link_id)
);
create index clicking_visitors_time on clicking_visitors using brin (first_at);
-- How many visitors those are, for each link and under link_id 0 for the whole delivery; they stay when the visitors are removed with their hits.
create table click_figures (
    delivery_id bigint not null,
    link_id bigint not null,
    visitors bigint not null,
    primary key (delivery_id, link_id)
) with (fillfactor = 80);

insert into clicking_visitors (delivery_id, visitor_id, link_id, first_at)
select delivery_id, visitor_id, coalesce(link_id, 0), min(received_at) from hits
where kind = 'click' and verdict in ('human', 'suspect') and delivery_id is not null and visitor_id is not null
group by delivery_id, visitor_id, coalesce(link_id, 0);
insert into click_figures (delivery_id, link_id, visitors)
select delivery_id, link_id, count(*) from clicking_visitors where link_id <> 0 group by delivery_id, link_id;
insert into click_figures (delivery_id, link_id, visitors)
select delivery_id, 0, count(distinct visitor_id) from clicking_visitors group by delivery_id;
