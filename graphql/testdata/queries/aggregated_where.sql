-- cost 40202

-- comExampleReadingAggregated
select g.v1,
  g.v2,
  count(*)::text
from (select to_char((t1."taken_at") at time zone 'UTC', 'YYYY-MM-DD') collate "C" as v1, (t1."station") collate "C" as v2
from records."com_example_reading" t1
where (not t1.hidden) and (t1."celsius" >= $1::bigint)) g
group by g.v1, g.v2
order by count(*) desc nulls last, g.v1, g.v2
limit 2;
-- $1: where.celsius.gte (value bigint)

-- variables
select g.v1,
  count(*)::text
from (select (t2."station") collate "C" as v1
from records."com_example_reading" t2
where (not t2.hidden) and (t2.did = $1::text)) g
group by g.v1
having count(*) >= $2::bigint
order by count(*) desc nulls last, g.v1
limit 100;
-- $1: where.did.eq (value text)
-- $2: having.count.gte (value bigint)

-- or
select g.v1,
  count(*)::text
from (select (t3."station") collate "C" as v1
from records."com_example_reading" t3
where (not t3.hidden) and ((t3."celsius" < $1::bigint) or (t3."indoors" = $2::boolean))) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;
-- $1: where.or[0].celsius.lt (value bigint)
-- $2: where.or[1].indoors.eq (value boolean)

-- none
select g.v1,
  count(*)::text
from (select (t4."station") collate "C" as v1
from records."com_example_reading" t4
where not t4.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 0;
