-- cost 60600

-- count
select g.v1,
  count(*)::text
from (select (t1."station") collate "C" as v1
from records."com_example_reading" t1
where not t1.hidden) g
group by g.v1
having (count(*) >= $1::bigint) and (count(*) < $2::bigint)
order by count(*) desc nulls last, g.v1
limit 100;
-- $1: having.count.gte (value bigint)
-- $2: having.count.lt (value bigint)

-- avg
select g.v1,
  avg(g.v2)::float8::text
from (select (t2."station") collate "C" as v1, t2."celsius" as v2
from records."com_example_reading" t2
where not t2.hidden) g
group by g.v1
having (avg(g.v2) > $1::numeric) and (avg(g.v2) <= $2::numeric)
order by count(*) desc nulls last, g.v1
limit 100;
-- $1: having.avg.gt (value numeric)
-- $2: having.avg.lte (value numeric)

-- max
select g.v1,
  max(g.v2)::text
from (select (t3.did) collate "C" as v1, t3."taken_at" as v2, (t3."station") collate "C" as v3, t3."celsius" as v4
from records."com_example_reading" t3
where not t3.hidden) g
group by g.v1
having (count(distinct g.v3) is distinct from $1::bigint) and (max(g.v2) >= $2::timestamptz) and (max(g.v4) < $3::bigint)
order by count(*) desc nulls last, g.v1
limit 100;
-- $1: having.countDistinct.ne (value bigint)
-- $2: having.max[0].gte (value timestamptz)
-- $3: having.max[1].lt (value bigint)

-- none
select g.v1,
  sum(g.v2)::text
from (select (t4."station") collate "C" as v1, t4."celsius" as v2
from records."com_example_reading" t4
where not t4.hidden) g
group by g.v1
having sum(g.v2) is null
order by count(*) desc nulls last, g.v1
limit 100;

-- null
select g.v1
from (select (t5."station") collate "C" as v1, t5."celsius" as v2, (case when jsonb_typeof(((t5.record -> 'site') -> 'country')) = 'string' then (((t5.record -> 'site') -> 'country')) #>> '{}' end collate "C") collate "C" as v3
from records."com_example_reading" t5
where not t5.hidden) g
group by g.v1
having (sum(g.v2) = $1::numeric) and (min(g.v3) is not null)
order by count(*) desc nulls last, g.v1
limit 100;
-- $1: having.sum.eq (value numeric)

-- whole
select count(*)::text
from (select 
from records."com_example_reading" t6
where not t6.hidden) g
having count(*) > $1::bigint
limit 100;
-- $1: having.count.gt (value bigint)
