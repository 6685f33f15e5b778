-- cost 30210

-- comExampleSilenceAggregated
select g.v1::text,
  count(*)::text
from (select t1."decibels" as v1
from records."com_example_silence" t1
where not t1.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- months
select g.v1,
  count(*)::text,
  avg(g.v2)::float8::text
from (select to_char((t2."heard_at") at time zone 'UTC', 'YYYY-MM') collate "C" as v1, t2."decibels" as v2
from records."com_example_silence" t2
where not t2.hidden) g
group by g.v1
order by avg(g.v2), g.v1
limit 100;

-- comExampleSilence, beside the rows
select ((select count(*) from records."com_example_silence" c4 where not c4.hidden))::text,
  (select json_build_array(count(*), count(distinct g.v1), sum(g.v2), avg(g.v2)::float8, min(g.v3)::text, max(g.v3)::text) from (select (c5.did) collate "C" as v1, c5."decibels" as v2, c5."heard_at" as v3
from records."com_example_silence" c5
where not c5.hidden) g);
