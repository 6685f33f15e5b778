-- cost 40302

-- avg
select g.v1,
  avg(g.v2)::float8::text
from (select (t1."station") collate "C" as v1, t1."celsius" as v2
from records."com_example_reading" t1
where not t1.hidden) g
group by g.v1
order by avg(g.v2) desc nulls last, g.v1
limit 100;

-- ties
select g.v1,
  g.v2::text,
  count(*)::text
from (select (t2."station") collate "C" as v1, t2."indoors" as v2, t2."celsius" as v3
from records."com_example_reading" t2
where not t2.hidden) g
group by g.v1, g.v2
order by count(*) desc nulls last, max(g.v3), g.v1, g.v2
limit 100;

-- latest
select g.v1
from (select (t3."station") collate "C" as v1, t3."taken_at" as v2
from records."com_example_reading" t3
where not t3.hidden) g
group by g.v1
order by max(g.v2) desc nulls last, g.v1
limit 2;

-- spread
select g.v1,
  (count(distinct g.v2))::text,
  min(g.v2)
from (select (case when jsonb_typeof(((t4.record -> 'site') -> 'country')) = 'string' then (((t4.record -> 'site') -> 'country')) #>> '{}' end collate "C") collate "C" as v1, (t4."station") collate "C" as v2
from records."com_example_reading" t4
where not t4.hidden) g
group by g.v1
order by count(distinct g.v2) desc nulls last, min(g.v2), g.v1
limit 100;
