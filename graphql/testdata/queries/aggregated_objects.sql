-- cost 40400

-- comExampleReadingAggregated
select g.v1,
  count(*)::text
from (select e2.v as v1
from records."com_example_reading" t1
left join lateral (select distinct u4.v as v from (select case when jsonb_typeof(e3.v) = 'object' then e3.v end as v from jsonb_array_elements(case when jsonb_typeof((t1.record -> 'sensors')) = 'array' then (t1.record -> 'sensors') end) e3(v)) u4 where u4.v is not null) e2 on true
where not t1.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- models
select g.v1,
  count(*)::text
from (select e6.v as v1
from records."com_example_reading" t5
left join lateral (select distinct u8.v collate "C" as v from (select case when jsonb_typeof((e7.v -> 'model')) = 'string' then ((e7.v -> 'model')) #>> '{}' end collate "C" as v from jsonb_array_elements(case when jsonb_typeof((t5.record -> 'sensors')) = 'array' then (t5.record -> 'sensors') end) e7(v)) u8 where u8.v is not null) e6 on true
where not t5.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- bits
select g.v1::text,
  g.v2,
  count(*)::text
from (select e10.v as v1, (t9."station") collate "C" as v2
from records."com_example_reading" t9
left join lateral (select distinct u12.v as v from (select case when jsonb_typeof((e11.v -> 'bits')) = 'number' and ((e11.v -> 'bits'))::numeric % 1 = 0 and abs(((e11.v -> 'bits'))::numeric) < 9223372036854775808 then ((e11.v -> 'bits'))::bigint end as v from jsonb_array_elements(case when jsonb_typeof((t9.record -> 'sensors')) = 'array' then (t9.record -> 'sensors') end) e11(v)) u12 where u12.v is not null) e10 on true
where not t9.hidden) g
group by g.v1, g.v2
order by g.v1, g.v2
limit 100;

-- owners
select g.v1,
  count(*)::text
from (select e14.v as v1
from records."com_example_reading" t13
left join lateral (select distinct u16.v collate "C" as v from (select case when jsonb_typeof(e15.v) = 'string' then (e15.v) #>> '{}' end collate "C" as v from jsonb_array_elements(case when jsonb_typeof(((t13.record -> 'site') -> 'owners')) = 'array' then ((t13.record -> 'site') -> 'owners') end) e15(v)) u16 where u16.v is not null) e14 on true
where not t13.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;
