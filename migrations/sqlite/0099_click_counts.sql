-- How often each visitor has clicked so far; clicks that come count themselves. Both folders hold the same names and columns.
update clicking_visitors set clicks = f.clicks
from (select coalesce(delivery_id, 0) as delivery_id, visitor_id, coalesce(link_id, 0) as link_id, count(*) as clicks from hits
      where kind = 'click' and verdict in ('human', 'suspect') and visitor_id is not null and (delivery_id is not null or link_id is not null)
      group by coalesce(delivery_id, 0), visitor_id, coalesce(link_id, 0)) f
where clicking_visitors.delivery_id = f.delivery_id and clicking_visitors.visitor_id = f.visitor_id and clicking_visitors.link_id = f.link_id;
