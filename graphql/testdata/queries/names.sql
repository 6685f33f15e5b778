-- cost 2854

-- comExampleOdd
select t1."true"::text,
  t1."sort_at_",
  t1.did,
  t1.rkey,
  t1."uri",
  t1.cid,
  t1."cid_",
  coalesce(t1."did_", case when t1.flagged then case when jsonb_typeof(t1.record -> 'did') = 'string' then (t1.record -> 'did') #>> '{}' end collate "C" end),
  t1j.record,
  t1j.record -> 'record',
  t1."type",
  t1."order"::text,
  t1."and",
  t1."is_null"::text,
  t1."a_b"
from (select * from records."com_example_odd" t1 where (not t1.hidden) and ((t1."a_b" = $1::text) and (t1."and" = $2::text) and (t1."is_null" = $3::boolean) and (t1."true" = $4::boolean) and (t1."uri" = $5::text))
order by t1."true", t1."sort_at_", t1.did, t1.rkey limit 51) t1
cross join lateral (select t1.record || '{}' as record offset 0) t1j
order by t1."true", t1."sort_at_", t1.did, t1.rkey;
-- $1: where.a_b.eq (value text)
-- $2: where.and_.eq (value text)
-- $3: where.isNull_.eq (value boolean)
-- $4: where.true.eq (value boolean)
-- $5: where.uri_.eq (value text)

-- comExampleThing
select t2.did,
  t2.rkey,
  t2."name"
from (select * from (select * from records."com_example_thing" t2 where not t2.hidden
order by t2.sort_at desc fetch first 51 rows with ties) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc limit 51) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc;

-- comExampleThing_6c25c9e4
select t3.did,
  t3.rkey,
  t3."name",
  s4.rkey,
  s4."theme",
  (select json_agg(x6.r) from (select json_build_array(t5."name") as r from (select * from (select * from records."com_example_thing" t5 where (not t5.hidden) and (t5.did = t3.did)
order by t5.sort_at desc fetch first 51 rows with ties) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc limit 51) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc) x6)
from (select * from (select * from records."com_example_thing_6c25c9e4" t3 where not t3.hidden
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
left join records."com_example_settings" s4 on s4.rkey = 'self' and s4.did = t3.did and not s4.hidden
order by t3.sort_at desc, t3.rkey desc, t3.did desc;

-- comExampleSettings
select t7.rkey,
  t7."theme",
  ((select count(*) from records."com_example_odd" c9 where (not c9.hidden) and (c9.did = t7.did)))::text
from (select * from (select * from records."com_example_settings" t7 where not t7.hidden
order by t7.sort_at desc fetch first 51 rows with ties) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc limit 51) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc;
