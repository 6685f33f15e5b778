-- cost 733

-- uri
select t1."title"
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and (t1.rkey = $1::text and t1.did = $2::text)
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.uri.eq (rkey text)
-- $2: where.uri.eq (did text)

-- uriOfAnother
select t2."title"
from (select * from (select * from records."com_myrecipes_recipe" t2 where (not t2.hidden) and (t2.rkey = $1::text and t2.did = $2::text)
order by t2.sort_at desc fetch first 51 rows with ties) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc limit 51) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc;
-- $1: where.uri.eq (rkey text)
-- $2: where.uri.eq (did text)

-- uris
select t3."title"
from (select * from (select * from records."com_myrecipes_recipe" t3 where (not t3.hidden) and ((t3.rkey, t3.did) in (select * from unnest($1::text[], $2::text[])))
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc;
-- $1: where.uri.in (rkeys text[])
-- $2: where.uri.in (dids text[])

-- uriContains
select t4."title"
from (select * from (select * from records."com_myrecipes_recipe" t4 where (not t4.hidden) and (('at://' || t4.did || '/com.myrecipes.recipe/' || t4.rkey) collate "C" ilike $1::text)
order by t4.sort_at desc fetch first 51 rows with ties) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc limit 51) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc;
-- $1: where.uri.contains (like text)

-- did
select t5."title"
from (select * from (select * from records."com_myrecipes_recipe" t5 where (not t5.hidden) and (t5.did = $1::text)
order by t5.sort_at desc fetch first 51 rows with ties) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc limit 51) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc;
-- $1: where.did.eq (value text)

-- rkey
select t6."title"
from (select * from (select * from records."com_myrecipes_recipe" t6 where (not t6.hidden) and (t6.rkey >= $1::text)
order by t6.sort_at desc fetch first 51 rows with ties) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc limit 51) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc;
-- $1: where.rkey.gte (value text)

-- cid
select t7."title"
from (select * from (select * from records."com_myrecipes_recipe" t7 where (not t7.hidden) and (t7.cid = $1::text)
order by t7.sort_at desc fetch first 51 rows with ties) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc limit 51) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc;
-- $1: where.cid.eq (value text)

-- collection, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c9 where (not c9.hidden) and ('com.myrecipes.recipe'::text = $1::text)))::text;
-- $1: where.collection.eq (value text)

-- handle
select t10."title"
from (select * from (select * from records."com_myrecipes_recipe" t10 where (not t10.hidden) and (t10.did = any(array(select a.did from atview.actor a where a.handle = $1::text)))
order by t10.sort_at desc fetch first 51 rows with ties) t10
order by t10.sort_at desc, t10.rkey desc, t10.did desc limit 51) t10
order by t10.sort_at desc, t10.rkey desc, t10.did desc;
-- $1: where.actorHandle.eq (value text)

-- handles
select t11."title"
from (select * from (select * from records."com_myrecipes_recipe" t11 where (not t11.hidden) and (t11.did = any(array(select a.did from atview.actor a where a.handle = any($1::text[]))))
order by t11.sort_at desc fetch first 51 rows with ties) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc limit 51) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc;
-- $1: where.actorHandle.in (list text[])

-- handleLike
select t12."title"
from (select * from (select * from records."com_myrecipes_recipe" t12 where (not t12.hidden) and ((select a.handle from atview.actor a where a.did = t12.did) collate "C" ^@ $1::text)
order by t12.sort_at desc fetch first 51 rows with ties) t12
order by t12.sort_at desc, t12.rkey desc, t12.did desc limit 51) t12
order by t12.sort_at desc, t12.rkey desc, t12.did desc;
-- $1: where.actorHandle.startsWith (value text)

-- noHandle
select t13."title"
from (select * from (select * from records."com_myrecipes_recipe" t13 where (not t13.hidden) and ((select a.handle from atview.actor a where a.did = t13.did) is null)
order by t13.sort_at desc fetch first 51 rows with ties) t13
order by t13.sort_at desc, t13.rkey desc, t13.did desc limit 51) t13
order by t13.sort_at desc, t13.rkey desc, t13.did desc;

-- indexedAt
select t14."title"
from (select * from (select * from records."com_myrecipes_recipe" t14 where (not t14.hidden) and (t14.indexed_at < $1::timestamptz)
order by t14.sort_at desc fetch first 51 rows with ties) t14
order by t14.sort_at desc, t14.rkey desc, t14.did desc limit 51) t14
order by t14.sort_at desc, t14.rkey desc, t14.did desc;
-- $1: where.indexedAt.lt (value timestamptz)

-- flagged
select t15.rkey,
  case when t15.flagged then (select json_agg(json_build_array(f16.path, f16.reason) order by f16.ordinal) from atview.flag f16 where f16.rkey = t15.rkey and f16.did = t15.did and f16.collection = 'com.myrecipes.recipe') end
from (select * from (select * from records."com_myrecipes_recipe" t15 where (not t15.hidden) and (t15.flagged = $1::boolean)
order by t15.sort_at desc fetch first 51 rows with ties) t15
order by t15.sort_at desc, t15.rkey desc, t15.did desc limit 51) t15
order by t15.sort_at desc, t15.rkey desc, t15.did desc;
-- $1: where.flagged.eq (value boolean)

-- unflagged, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c18 where (not c18.hidden) and (c18.flagged is distinct from $1::boolean)))::text;
-- $1: where.flagged.ne (value boolean)
