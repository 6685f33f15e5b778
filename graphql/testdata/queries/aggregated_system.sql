-- cost 40204

-- comExampleReadingAggregated
select g.v1,
  count(*)::text
from (select (h2.handle) collate "C" as v1
from records."com_example_reading" t1
left join atview.actor h2 on h2.did = t1.did
where not t1.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- collection
select g.v1,
  g.v2,
  count(*)::text
from (select ('com.example.reading'::text) collate "C" as v1, (t3.did) collate "C" as v2
from records."com_example_reading" t3
where not t3.hidden) g
group by g.v1, g.v2
order by g.v2, g.v1
limit 2;

-- uris
select g.v1,
  count(*)::text
from (select (('at://' || t4.did || '/com.example.reading/' || t4.rkey)) collate "C" as v1
from records."com_example_reading" t4
where not t4.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 2;

-- keys
select g.v1,
  count(*)::text
from (select (t5.rkey) collate "C" as v1
from records."com_example_reading" t5
where (not t5.hidden) and (t5.rkey < $1::text)) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;
-- $1: where.rkey.lt (value text)
