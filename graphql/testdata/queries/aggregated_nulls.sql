-- cost 40400

-- up
select g.v1,
  count(*)::text
from (select (t1."station") collate "C" as v1
from records."com_example_reading" t1
where not t1.hidden) g
group by g.v1
order by g.v1
limit 100;

-- down
select g.v1,
  count(*)::text
from (select (t2."station") collate "C" as v1
from records."com_example_reading" t2
where not t2.hidden) g
group by g.v1
order by g.v1 desc nulls last
limit 100;

-- flags
select g.v1::text,
  count(*)::text,
  avg(g.v2)::float8::text
from (select t3."indoors" as v1, t3."celsius" as v2
from records."com_example_reading" t3
where not t3.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- sums
select g.v1,
  count(*)::text,
  sum(g.v2)::text,
  min(g.v2)::text
from (select (t4.did) collate "C" as v1, t4."count" as v2
from records."com_example_reading" t4
where not t4.hidden) g
group by g.v1
order by sum(g.v2) desc nulls last, g.v1
limit 100;
