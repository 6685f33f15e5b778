-- cost 10100

-- comExampleReadingAggregated
select g.v1,
  count(*)::text,
  (count(distinct g.v2))::text,
  (count(distinct g.v3))::text,
  (count(distinct g.v4))::text,
  sum(g.v5)::text,
  avg(g.v5)::float8::text,
  min(g.v5)::text,
  max(g.v5)::text,
  min(g.v4)::text,
  max(g.v4)::text,
  min(g.v2),
  max(g.v2),
  min(g.v6)::text,
  max(g.v7),
  min(g.v8)::text,
  max(g.v9)::text,
  min(g.v10),
  min(g.v11)
from (select (t1.did) collate "C" as v1, (t1."station") collate "C" as v2, t1."indoors" as v3, t1."taken_at" as v4, t1."celsius" as v5, case when jsonb_typeof(((t1.record -> 'site') -> 'meters')) = 'number' and (((t1.record -> 'site') -> 'meters'))::numeric % 1 = 0 and abs((((t1.record -> 'site') -> 'meters'))::numeric) < 9223372036854775808 then (((t1.record -> 'site') -> 'meters'))::bigint end as v6, (case when jsonb_typeof(((t1.record -> 'site') -> 'country')) = 'string' then (((t1.record -> 'site') -> 'country')) #>> '{}' end collate "C") collate "C" as v7, case when jsonb_typeof(((t1.record -> 'site') -> 'openedAt')) = 'string' and (((t1.record -> 'site') -> 'openedAt')) #>> '{}' ~ E'^(?!0000)(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,20})?(Z|[+-](0\\d|1[0-4]):[0-5]\\d)$' then date_trunc('microseconds', ((((t1.record -> 'site') -> 'openedAt')) #>> '{}')::timestamptz) end as v8, t1.indexed_at as v9, (h2.handle) collate "C" as v10, (('at://' || t1.did || '/com.example.reading/' || t1.rkey)) collate "C" as v11
from records."com_example_reading" t1
left join atview.actor h2 on h2.did = t1.did
where not t1.hidden) g
group by g.v1
order by g.v1
limit 100;
