-- cost 3304

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
from (with n2 as materialized (select * from records."com_example_odd" t1 where (not t1.hidden) and ((t1."a_b" = $1::text) and (t1."and" = $2::text) and (t1."is_null" = $3::boolean) and (t1."true" = $4::boolean) and (t1."uri" = $5::text)) and (t1."true" is not null)
order by t1."true", t1."sort_at_", t1.did, t1.rkey limit 51)
select * from (select * from n2 union all (select * from records."com_example_odd" t1 where (not t1.hidden) and ((t1."a_b" = $1::text) and (t1."and" = $2::text) and (t1."is_null" = $3::boolean) and (t1."true" = $4::boolean) and (t1."uri" = $5::text)) and (t1."true" is null) and ((select count(*) from n2) < 51)
order by t1."sort_at_", t1.did, t1.rkey limit 51)) t1
order by t1."true", t1."sort_at_", t1.did, t1.rkey limit 51) t1
cross join lateral (select t1.record || '{}' as record offset 0) t1j
order by t1."true", t1."sort_at_", t1.did, t1.rkey;
-- $1: where.a_b.eq (value text)
-- $2: where.and_.eq (value text)
-- $3: where.isNull_.eq (value boolean)
-- $4: where.true.eq (value boolean)
-- $5: where.uri_.eq (value text)

-- comExampleThing
select t3.did,
  t3.rkey,
  t3."name"
from (select * from (select * from records."com_example_thing" t3 where not t3.hidden
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc;

-- comExampleThing_6c25c9e4
select t4.did,
  t4.rkey,
  t4."name",
  s5.rkey,
  s5."theme",
  (select json_agg(x7.r) from (select json_build_array(t6."name") as r from (select * from (select * from records."com_example_thing" t6 where (not t6.hidden) and (t6.did = t4.did)
order by t6.sort_at desc fetch first 51 rows with ties) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc limit 51) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc) x7)
from (select * from (select * from records."com_example_thing_6c25c9e4" t4 where not t4.hidden
order by t4.sort_at desc fetch first 51 rows with ties) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc limit 51) t4
left join records."com_example_settings" s5 on s5.rkey = 'self' and s5.did = t4.did and not s5.hidden
order by t4.sort_at desc, t4.rkey desc, t4.did desc;

-- comExampleSettings
select t8.rkey,
  t8."theme",
  ((select count(*) from records."com_example_odd" c10 where (not c10.hidden) and (c10.did = t8.did)))::text
from (select * from (select * from records."com_example_settings" t8 where not t8.hidden
order by t8.sort_at desc fetch first 51 rows with ties) t8
order by t8.sort_at desc, t8.rkey desc, t8.did desc limit 51) t8
order by t8.sort_at desc, t8.rkey desc, t8.did desc;
