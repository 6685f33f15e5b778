-- cost 40400

-- comExampleReadingAggregated
select g.v1,
  count(*)::text,
  avg(g.v2)::float8::text
from (select (case when jsonb_typeof(((t1.record -> 'site') -> 'country')) = 'string' then (((t1.record -> 'site') -> 'country')) #>> '{}' end collate "C") collate "C" as v1, case when jsonb_typeof(((t1.record -> 'site') -> 'meters')) = 'number' and (((t1.record -> 'site') -> 'meters'))::numeric % 1 = 0 and abs((((t1.record -> 'site') -> 'meters'))::numeric) < 9223372036854775808 then (((t1.record -> 'site') -> 'meters'))::bigint end as v2
from records."com_example_reading" t1
where not t1.hidden) g
group by g.v1
order by g.v1
limit 100;

-- previous
select g.v1,
  g.v2,
  count(*)::text
from (select (case when jsonb_typeof(((t2.record -> 'site') -> 'country')) = 'string' then (((t2.record -> 'site') -> 'country')) #>> '{}' end collate "C") collate "C" as v1, to_char((case when jsonb_typeof(((t2.record -> 'site') -> 'openedAt')) = 'string' and (((t2.record -> 'site') -> 'openedAt')) #>> '{}' ~ E'^(?!0000)(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,20})?(Z|[+-](0\\d|1[0-4]):[0-5]\\d)$' then date_trunc('microseconds', ((((t2.record -> 'site') -> 'openedAt')) #>> '{}')::timestamptz) end) at time zone 'UTC', 'YYYY') collate "C" as v2
from records."com_example_reading" t2
where not t2.hidden) g
group by g.v1, g.v2
order by count(*) desc nulls last, g.v1, g.v2
limit 100;

-- subjects
select g.v1,
  count(*)::text,
  avg(g.v2)::float8::text
from (select (coalesce(t3."subject_uri", case when t3.flagged then case when jsonb_typeof(((t3.record -> 'subject') -> 'uri')) = 'string' then (((t3.record -> 'subject') -> 'uri')) #>> '{}' end collate "C" end)) collate "C" as v1, t3."rating" as v2
from records."com_myrecipes_review" t3
where not t3.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- meters
select g.v1::text,
  count(*)::text
from (select case when jsonb_typeof(((t4.record -> 'site') -> 'meters')) = 'number' and (((t4.record -> 'site') -> 'meters'))::numeric % 1 = 0 and abs((((t4.record -> 'site') -> 'meters'))::numeric) < 9223372036854775808 then (((t4.record -> 'site') -> 'meters'))::bigint end as v1
from records."com_example_reading" t4
where not t4.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;
