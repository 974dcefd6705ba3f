-- Who clicked, so that no report counts it in hits: each visitor once for a delivery (link_id 0) and once for each of its links.
create table clicking_visitors (
    delivery_id bigint not null,
    link_id bigint not null,
    visitor_id uuid not null,
    first_at timestamptz not null,
    primary key (delivery_id, link_id, visitor_id)
);
create index clicking_visitors_time on clicking_visitors using brin (first_at);
-- How many those are; they stay when the visitors are removed with their hits.
create table click_figures (
    delivery_id bigint not null,
    link_id bigint not null,
    visitors bigint not null,
    primary key (delivery_id, link_id)
) with (fillfactor = 80);

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
