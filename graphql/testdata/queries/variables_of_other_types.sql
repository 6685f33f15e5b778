-- cost 114

-- comMyrecipesRecipe
select t1."title"
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and ((t1."created_at" >= $1::timestamptz) and ((t1."servings" >= $2::bigint) and (t1."servings" <= $3::bigint)))
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.createdAt.gte (value timestamptz)
-- $2: where.servings.gte (value bigint)
-- $3: where.servings.lte (value bigint)

-- in
select t2."title"
from (select * from (select * from records."com_myrecipes_recipe" t2 where (not t2.hidden) and (t2."servings" = any($1::bigint[]))
order by t2.sort_at desc fetch first 2 rows with ties) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc limit 2) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc;
-- $1: where.servings.in (list bigint[])

-- none, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c4 where (not c4.hidden) and (c4."servings" is null)))::text;

-- comExampleEverything
select t5.rkey
from (select * from (select * from records."com_example_everything" t5 where (not t5.hidden) and (t5."flag" = $1::boolean)
order by t5.sort_at desc fetch first 51 rows with ties) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc limit 51) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc;
-- $1: where.flag.eq (value boolean)
