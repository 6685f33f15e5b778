-- cost 206

-- after
select t1."title"
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and ((t1.sort_at, t1.rkey, t1.did) < ($1::timestamptz, $2::text, $3::text))
order by t1.sort_at desc fetch first 3 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 3) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: after (cursor J23N9Fz0 0 timestamptz)
-- $2: after (cursor J23N9Fz0 1 text)
-- $3: after (cursor J23N9Fz0 2 text)

-- after, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c2 where not c2.hidden))::text,
  (coalesce((select true from records."com_myrecipes_recipe" c3 where (not c3.hidden) and ((c3.sort_at, c3.rkey, c3.did) >= ($1::timestamptz, $2::text, $3::text)) order by c3.sort_at limit 1), false))::text;
-- $1: after (cursor J23N9Fz0 0 timestamptz)
-- $2: after (cursor J23N9Fz0 1 text)
-- $3: after (cursor J23N9Fz0 2 text)

-- before
select t4."title"
from (select * from (select * from records."com_myrecipes_recipe" t4 where (not t4.hidden) and ((t4.sort_at, t4.rkey, t4.did) > ($1::timestamptz, $2::text, $3::text))
order by t4.sort_at fetch first 3 rows with ties) t4
order by t4.sort_at, t4.rkey, t4.did limit 3) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc;
-- $1: before (cursor J23N9Fz0 0 timestamptz)
-- $2: before (cursor J23N9Fz0 1 text)
-- $3: before (cursor J23N9Fz0 2 text)

-- before, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c5 where not c5.hidden))::text,
  (coalesce((select true from records."com_myrecipes_recipe" c6 where (not c6.hidden) and ((c6.sort_at, c6.rkey, c6.did) <= ($1::timestamptz, $2::text, $3::text)) order by c6.sort_at desc limit 1), false))::text;
-- $1: before (cursor J23N9Fz0 0 timestamptz)
-- $2: before (cursor J23N9Fz0 1 text)
-- $3: before (cursor J23N9Fz0 2 text)

-- between
select t7."title"
from (select * from (select * from records."com_myrecipes_recipe" t7 where (not t7.hidden) and ((t7.sort_at, t7.rkey, t7.did) < ($1::timestamptz, $2::text, $3::text)) and ((t7.sort_at, t7.rkey, t7.did) > ($4::timestamptz, $5::text, $6::text))
order by t7.sort_at desc fetch first 2 rows with ties) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc limit 2) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc;
-- $1: after (cursor J23N9Fz0 0 timestamptz)
-- $2: after (cursor J23N9Fz0 1 text)
-- $3: after (cursor J23N9Fz0 2 text)
-- $4: before (cursor J23N9Fz0 0 timestamptz)
-- $5: before (cursor J23N9Fz0 1 text)
-- $6: before (cursor J23N9Fz0 2 text)

-- between, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c8 where not c8.hidden))::text,
  (coalesce((select true from records."com_myrecipes_recipe" c9 where (not c9.hidden) and ((c9.sort_at, c9.rkey, c9.did) <= ($1::timestamptz, $2::text, $3::text)) order by c9.sort_at desc limit 1), false))::text,
  (coalesce((select true from records."com_myrecipes_recipe" c10 where (not c10.hidden) and ((c10.sort_at, c10.rkey, c10.did) >= ($4::timestamptz, $5::text, $6::text)) order by c10.sort_at limit 1), false))::text;
-- $1: before (cursor J23N9Fz0 0 timestamptz)
-- $2: before (cursor J23N9Fz0 1 text)
-- $3: before (cursor J23N9Fz0 2 text)
-- $4: after (cursor J23N9Fz0 0 timestamptz)
-- $5: after (cursor J23N9Fz0 1 text)
-- $6: after (cursor J23N9Fz0 2 text)

-- end
select t11."title"
from (select * from (select * from records."com_myrecipes_recipe" t11 where (not t11.hidden) and ((t11.sort_at, t11.rkey, t11.did) < ($1::timestamptz, $2::text, $3::text))
order by t11.sort_at desc fetch first 51 rows with ties) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc limit 51) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc;
-- $1: after (cursor J23N9Fz0 0 timestamptz)
-- $2: after (cursor J23N9Fz0 1 text)
-- $3: after (cursor J23N9Fz0 2 text)

-- end, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c12 where not c12.hidden))::text,
  (coalesce((select true from records."com_myrecipes_recipe" c13 where (not c13.hidden) and ((c13.sort_at, c13.rkey, c13.did) >= ($1::timestamptz, $2::text, $3::text)) order by c13.sort_at limit 1), false))::text;
-- $1: after (cursor J23N9Fz0 0 timestamptz)
-- $2: after (cursor J23N9Fz0 1 text)
-- $3: after (cursor J23N9Fz0 2 text)

-- start
select t14."title"
from (select * from (select * from records."com_myrecipes_recipe" t14 where (not t14.hidden) and ((t14.sort_at, t14.rkey, t14.did) > ($1::timestamptz, $2::text, $3::text))
order by t14.sort_at fetch first 51 rows with ties) t14
order by t14.sort_at, t14.rkey, t14.did limit 51) t14
order by t14.sort_at desc, t14.rkey desc, t14.did desc;
-- $1: before (cursor J23N9Fz0 0 timestamptz)
-- $2: before (cursor J23N9Fz0 1 text)
-- $3: before (cursor J23N9Fz0 2 text)

-- start, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c15 where not c15.hidden))::text,
  (coalesce((select true from records."com_myrecipes_recipe" c16 where (not c16.hidden) and ((c16.sort_at, c16.rkey, c16.did) <= ($1::timestamptz, $2::text, $3::text)) order by c16.sort_at desc limit 1), false))::text;
-- $1: before (cursor J23N9Fz0 0 timestamptz)
-- $2: before (cursor J23N9Fz0 1 text)
-- $3: before (cursor J23N9Fz0 2 text)

-- mixed
select t17."title",
  t17."servings"::text
from (with n18 as materialized (select * from records."com_myrecipes_recipe" t17 where (not t17.hidden) and (t17."servings" is not null)
order by t17."servings" desc, t17."title", t17.rkey, t17.did limit 4)
select * from (select * from n18 union all (select * from records."com_myrecipes_recipe" t17 where (not t17.hidden) and (t17."servings" is null) and ((select count(*) from n18) < 4)
order by t17."title", t17.rkey, t17.did limit 4)) t17
order by t17."servings" desc nulls last, t17."title", t17.rkey, t17.did limit 4) t17
order by t17."servings" desc nulls last, t17."title", t17.rkey, t17.did;

-- mixed, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c19 where not c19.hidden))::text;

-- countOnly, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c21 where not c21.hidden))::text;

-- flagsOnly
select 
from (select * from (select * from records."com_myrecipes_recipe" t22 where not t22.hidden
order by t22.sort_at desc fetch first 1 rows with ties) t22
order by t22.sort_at desc, t22.rkey desc, t22.did desc limit 1) t22
order by t22.sort_at desc, t22.rkey desc, t22.did desc;

-- nested
select ((select count(*) from records."com_myrecipes_recipe" c25 where (not c25.hidden) and (c25.did = t23.did)))::text,
  (coalesce((select true from records."com_myrecipes_recipe" c26 where (not c26.hidden) and (c26.did = t23.did) and ((c26.sort_at, c26.rkey, c26.did) >= ($1::timestamptz, $2::text, $3::text)) order by c26.sort_at limit 1), false))::text,
  (select json_agg(x27.r) from (select json_build_array(t24."title") as r from (select * from (select * from records."com_myrecipes_recipe" t24 where (not t24.hidden) and (t24.did = t23.did) and ((t24.sort_at, t24.rkey, t24.did) < ($1::timestamptz, $2::text, $3::text))
order by t24.sort_at desc fetch first 2 rows with ties) t24
order by t24.sort_at desc, t24.rkey desc, t24.did desc limit 2) t24
order by t24.sort_at desc, t24.rkey desc, t24.did desc) x27)
from (select * from (select * from records."com_myrecipes_collection" t23 where not t23.hidden
order by t23.sort_at desc fetch first 2 rows with ties) t23
order by t23.sort_at desc, t23.rkey desc, t23.did desc limit 2) t23
order by t23.sort_at desc, t23.rkey desc, t23.did desc;
-- $1: after (cursor J23N9Fz0 0 timestamptz)
-- $2: after (cursor J23N9Fz0 1 text)
-- $3: after (cursor J23N9Fz0 2 text)
