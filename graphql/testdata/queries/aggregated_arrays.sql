-- cost 40400

-- comExampleReadingAggregated
select g.v1,
  count(*)::text,
  sum(g.v2)::text,
  (count(distinct g.v3))::text
from (select e2.v as v1, t1."celsius" as v2, (t1.did) collate "C" as v3
from records."com_example_reading" t1
left join lateral (select distinct u4.v collate "C" as v from unnest(coalesce(t1."labels", case when t1.flagged then array(select case when jsonb_typeof(e3.v) = 'string' then (e3.v) #>> '{}' end collate "C" as v from jsonb_array_elements(case when jsonb_typeof((t1.record -> 'labels')) = 'array' then (t1.record -> 'labels') end) e3(v)) end)) u4(v) where u4.v is not null) e2 on true
where not t1.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- levels
select g.v1::text,
  count(*)::text
from (select e6.v as v1
from records."com_example_reading" t5
left join lateral (select distinct u8.v as v from unnest(coalesce(t5."levels", case when t5.flagged then array(select case when jsonb_typeof(e7.v) = 'number' and (e7.v)::numeric % 1 = 0 and abs((e7.v)::numeric) < 9223372036854775808 then (e7.v)::bigint end as v from jsonb_array_elements(case when jsonb_typeof((t5.record -> 'levels')) = 'array' then (t5.record -> 'levels') end) e7(v)) end)) u8(v) where u8.v is not null) e6 on true
where not t5.hidden) g
group by g.v1
order by g.v1 desc nulls last
limit 100;

-- both
select g.v1,
  g.v2,
  count(*)::text
from (select (t9.did) collate "C" as v1, e10.v as v2
from records."com_example_reading" t9
left join lateral (select distinct u12.v collate "C" as v from unnest(coalesce(t9."labels", case when t9.flagged then array(select case when jsonb_typeof(e11.v) = 'string' then (e11.v) #>> '{}' end collate "C" as v from jsonb_array_elements(case when jsonb_typeof((t9.record -> 'labels')) = 'array' then (t9.record -> 'labels') end) e11(v)) end)) u12(v) where u12.v is not null) e10 on true
where not t9.hidden) g
group by g.v1, g.v2
having count(*) >= $1::bigint
order by count(*) desc nulls last, g.v1, g.v2
limit 100;
-- $1: having.count.gte (value bigint)

-- tags
select g.v1,
  count(*)::text,
  avg(g.v2)::float8::text
from (select e14.v as v1, t13."servings" as v2
from records."com_myrecipes_recipe" t13
left join lateral (select distinct u16.v collate "C" as v from unnest(coalesce(t13."tags", case when t13.flagged then array(select case when jsonb_typeof(e15.v) = 'string' then (e15.v) #>> '{}' end collate "C" as v from jsonb_array_elements(case when jsonb_typeof((t13.record -> 'tags')) = 'array' then (t13.record -> 'tags') end) e15(v)) end)) u16(v) where u16.v is not null) e14 on true
where not t13.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;
