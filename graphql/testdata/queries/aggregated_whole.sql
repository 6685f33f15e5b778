-- cost 40400

-- comExampleReadingAggregated
select count(*)::text,
  (count(distinct g.v1))::text,
  (count(distinct g.v2))::text,
  sum(g.v3)::text,
  avg(g.v4)::float8::text,
  min(g.v5)::text,
  max(g.v1)
from (select (t1."station") collate "C" as v1, (t1.did) collate "C" as v2, t1."celsius" as v3, t1."count" as v4, t1."taken_at" as v5
from records."com_example_reading" t1
where not t1.hidden) g
limit 100;

-- none
select count(*)::text,
  (count(distinct g.v1))::text,
  sum(g.v2)::text,
  avg(g.v2)::float8::text,
  min(g.v3)::text,
  max(g.v1)
from (select (t2."station") collate "C" as v1, t2."celsius" as v2, t2."taken_at" as v3
from records."com_example_reading" t2
where (not t2.hidden) and (t2."station" = $1::text)) g
limit 100;
-- $1: where.station.eq (value text)

-- comExampleSilenceAggregated
select count(*)::text,
  (count(distinct g.v1))::text,
  sum(g.v1)::text,
  avg(g.v1)::float8::text,
  min(g.v2)::text,
  max(g.v1)::text
from (select t3."decibels" as v1, t3."heard_at" as v2
from records."com_example_silence" t3
where not t3.hidden) g
limit 100;

-- keys
select count(*)::text
from (select 
from records."com_example_reading" t4
where not t4.hidden) g
limit 100;
