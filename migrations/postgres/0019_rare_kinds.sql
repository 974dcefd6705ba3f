-- Kinds that are rare are found without looking at every hit. The others are nearly all hits: for
-- them the index would cost more than it saves.
create index hits_kind on hits (kind, seq) where kind not in ('open', 'click', 'pageview');
