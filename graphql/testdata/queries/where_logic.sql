-- cost 397

-- both
select t1."title"
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and ((t1."cuisine" = $1::text) and (t1."servings" = $2::bigint))
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.cuisine.eq (value text)
-- $2: where.servings.eq (value bigint)

-- or
select t2."title"
from (select * from (select * from records."com_myrecipes_recipe" t2 where (not t2.hidden) and ((t2."cuisine" = $1::text) or (t2."servings" > $2::bigint))
order by t2.sort_at desc fetch first 51 rows with ties) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc limit 51) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc;
-- $1: where.or[0].cuisine.eq (value text)
-- $2: where.or[1].servings.gt (value bigint)

-- orNothing
select t3."title"
from (select * from (select * from records."com_myrecipes_recipe" t3 where (not t3.hidden) and (false)
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc;

-- and
select t4."title"
from (select * from (select * from records."com_myrecipes_recipe" t4 where (not t4.hidden) and ((t4."title" collate "C" ilike $1::text) and ((t4."servings" is null) or (t4."servings" = $2::bigint)))
order by t4.sort_at desc fetch first 51 rows with ties) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc limit 51) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc;
-- $1: where.and[0].title.contains (like text)
-- $2: where.and[1].or[1].servings.eq (value bigint)

-- andNothing, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c6 where not c6.hidden))::text;

-- not
select t7."title"
from (select * from (select * from records."com_myrecipes_recipe" t7 where (not t7.hidden) and ((t7."servings" >= $1::bigint) is not true)
order by t7.sort_at desc fetch first 51 rows with ties) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc limit 51) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc;
-- $1: where.not.servings.gte (value bigint)

-- notNot
select t8."title"
from (select * from (select * from records."com_myrecipes_recipe" t8 where (not t8.hidden) and (((t8."servings" >= $1::bigint) is not true) is not true)
order by t8.sort_at desc fetch first 51 rows with ties) t8
order by t8.sort_at desc, t8.rkey desc, t8.did desc limit 51) t8
order by t8.sort_at desc, t8.rkey desc, t8.did desc;
-- $1: where.not.not.servings.gte (value bigint)

-- notNothing
select t9."title"
from (select * from (select * from records."com_myrecipes_recipe" t9 where (not t9.hidden) and (false)
order by t9.sort_at desc fetch first 51 rows with ties) t9
order by t9.sort_at desc, t9.rkey desc, t9.did desc limit 51) t9
order by t9.sort_at desc, t9.rkey desc, t9.did desc;

-- empty, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c11 where not c11.hidden))::text;

-- null, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c13 where not c13.hidden))::text;

-- nullCondition, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c15 where not c15.hidden))::text;
