-- Whom a number of a report is made of. Both folders hold the same names and columns.

-- The messages of a delivery that left a trace, and all of its messages.
create index broadlog_figures_delivery on broadlog_figures (delivery_id, broadlog_id) where currency = '';
create index broadlogs_delivery on broadlogs (delivery_id, id);
