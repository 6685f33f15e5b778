-- cost 1234

-- eq
select t1."title"
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and (t1."title" = $1::text)
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.title.eq (value text)

-- eqNull
select t2."title"
from (select * from (select * from records."com_myrecipes_recipe" t2 where (not t2.hidden) and (t2."title" is null)
order by t2.sort_at desc fetch first 51 rows with ties) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc limit 51) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc;

-- ne
select t3."title"
from (select * from (select * from records."com_myrecipes_recipe" t3 where (not t3.hidden) and (t3."cuisine" is distinct from $1::text)
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc;
-- $1: where.cuisine.ne (value text)

-- neNull
select t4."title"
from (select * from (select * from records."com_myrecipes_recipe" t4 where (not t4.hidden) and (t4."cuisine" is not null)
order by t4.sort_at desc fetch first 51 rows with ties) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc limit 51) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc;

-- in
select t5."title"
from (select * from (select * from records."com_myrecipes_recipe" t5 where (not t5.hidden) and (t5."cuisine" = any($1::text[]))
order by t5.sort_at desc fetch first 51 rows with ties) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc limit 51) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc;
-- $1: where.cuisine.in (list text[])

-- inNothing
select t6."title"
from (select * from (select * from records."com_myrecipes_recipe" t6 where (not t6.hidden) and (t6."cuisine" = any($1::text[]))
order by t6.sort_at desc fetch first 51 rows with ties) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc limit 51) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc;
-- $1: where.cuisine.in (list text[])

-- notIn
select t7."title"
from (select * from (select * from records."com_myrecipes_recipe" t7 where (not t7.hidden) and ((t7."cuisine" = any($1::text[])) is not true)
order by t7.sort_at desc fetch first 51 rows with ties) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc limit 51) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc;
-- $1: where.cuisine.notIn (list text[])

-- notInNothing, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c9 where (not c9.hidden) and ((c9."cuisine" = any($1::text[])) is not true)))::text;
-- $1: where.cuisine.notIn (list text[])

-- contains
select t10."title"
from (select * from (select * from records."com_myrecipes_recipe" t10 where (not t10.hidden) and (t10."title" collate "C" ilike $1::text)
order by t10.sort_at desc fetch first 51 rows with ties) t10
order by t10.sort_at desc, t10.rkey desc, t10.did desc limit 51) t10
order by t10.sort_at desc, t10.rkey desc, t10.did desc;
-- $1: where.title.contains (like text)

-- containsAccents
select t11."title"
from (select * from (select * from records."com_myrecipes_recipe" t11 where (not t11.hidden) and (t11."title" collate "C" ~ $1::text)
order by t11.sort_at desc fetch first 51 rows with ties) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc limit 51) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc;
-- $1: where.title.contains (fold text)

-- containsWildcards
select t12."title"
from (select * from (select * from records."com_myrecipes_recipe" t12 where (not t12.hidden) and (t12."title" collate "C" ilike $1::text)
order by t12.sort_at desc fetch first 51 rows with ties) t12
order by t12.sort_at desc, t12.rkey desc, t12.did desc limit 51) t12
order by t12.sort_at desc, t12.rkey desc, t12.did desc;
-- $1: where.title.contains (like text)

-- containsBackslash
select t13."title"
from (select * from (select * from records."com_myrecipes_recipe" t13 where (not t13.hidden) and (t13."title" collate "C" ilike $1::text)
order by t13.sort_at desc fetch first 51 rows with ties) t13
order by t13.sort_at desc, t13.rkey desc, t13.did desc limit 51) t13
order by t13.sort_at desc, t13.rkey desc, t13.did desc;
-- $1: where.title.contains (like text)

-- containsAccentsAndPattern
select t14."title"
from (select * from (select * from records."com_myrecipes_recipe" t14 where (not t14.hidden) and (t14."title" collate "C" ~ $1::text)
order by t14.sort_at desc fetch first 51 rows with ties) t14
order by t14.sort_at desc, t14.rkey desc, t14.did desc limit 51) t14
order by t14.sort_at desc, t14.rkey desc, t14.did desc;
-- $1: where.title.contains (fold text)

-- startsWith
select t15."title"
from (select * from (select * from records."com_myrecipes_recipe" t15 where (not t15.hidden) and (t15."title" collate "C" ^@ $1::text)
order by t15.sort_at desc fetch first 51 rows with ties) t15
order by t15.sort_at desc, t15.rkey desc, t15.did desc limit 51) t15
order by t15.sort_at desc, t15.rkey desc, t15.did desc;
-- $1: where.title.startsWith (value text)

-- startsWithWildcard
select t16."title"
from (select * from (select * from records."com_myrecipes_recipe" t16 where (not t16.hidden) and (t16."title" collate "C" ^@ $1::text)
order by t16.sort_at desc fetch first 51 rows with ties) t16
order by t16.sort_at desc, t16.rkey desc, t16.did desc limit 51) t16
order by t16.sort_at desc, t16.rkey desc, t16.did desc;
-- $1: where.title.startsWith (value text)

-- gtText
select t17."title"
from (select * from (select * from records."com_myrecipes_recipe" t17 where (not t17.hidden) and (t17."title" > $1::text)
order by t17.sort_at desc fetch first 51 rows with ties) t17
order by t17.sort_at desc, t17.rkey desc, t17.did desc limit 51) t17
order by t17.sort_at desc, t17.rkey desc, t17.did desc;
-- $1: where.title.gt (value text)

-- range
select t18."title"
from (select * from (select * from records."com_myrecipes_recipe" t18 where (not t18.hidden) and ((t18."servings" >= $1::bigint) and (t18."servings" < $2::bigint))
order by t18.sort_at desc fetch first 51 rows with ties) t18
order by t18.sort_at desc, t18.rkey desc, t18.did desc limit 51) t18
order by t18.sort_at desc, t18.rkey desc, t18.did desc;
-- $1: where.servings.gte (value bigint)
-- $2: where.servings.lt (value bigint)

-- asText
select t19."title"
from (select * from (select * from records."com_myrecipes_recipe" t19 where (not t19.hidden) and ((t19."servings" >= $1::bigint) and (t19."servings" <= $2::bigint))
order by t19.sort_at desc fetch first 51 rows with ties) t19
order by t19.sort_at desc, t19.rkey desc, t19.did desc limit 51) t19
order by t19.sort_at desc, t19.rkey desc, t19.did desc;
-- $1: where.servings.gte (value bigint)
-- $2: where.servings.lte (value bigint)

-- isNull
select t20."title"
from (select * from (select * from records."com_myrecipes_recipe" t20 where (not t20.hidden) and (t20."servings" is null)
order by t20.sort_at desc fetch first 51 rows with ties) t20
order by t20.sort_at desc, t20.rkey desc, t20.did desc limit 51) t20
order by t20.sort_at desc, t20.rkey desc, t20.did desc;

-- isNotNull
select t21."title"
from (select * from (select * from records."com_myrecipes_recipe" t21 where (not t21.hidden) and (not (t21."servings" is null))
order by t21.sort_at desc fetch first 51 rows with ties) t21
order by t21.sort_at desc, t21.rkey desc, t21.did desc limit 51) t21
order by t21.sort_at desc, t21.rkey desc, t21.did desc;

-- date
select t22."title"
from (select * from (select * from records."com_myrecipes_recipe" t22 where (not t22.hidden) and ((t22."created_at" >= $1::timestamptz) and (t22."created_at" < $2::timestamptz))
order by t22.sort_at desc fetch first 51 rows with ties) t22
order by t22.sort_at desc, t22.rkey desc, t22.did desc limit 51) t22
order by t22.sort_at desc, t22.rkey desc, t22.did desc;
-- $1: where.createdAt.gte (value timestamptz)
-- $2: where.createdAt.lt (value timestamptz)

-- moment
select t23."title"
from (select * from (select * from records."com_myrecipes_recipe" t23 where (not t23.hidden) and (t23."created_at" = $1::timestamptz)
order by t23.sort_at desc fetch first 51 rows with ties) t23
order by t23.sort_at desc, t23.rkey desc, t23.did desc limit 51) t23
order by t23.sort_at desc, t23.rkey desc, t23.did desc;
-- $1: where.createdAt.eq (value timestamptz)

-- boolean
select t24.rkey
from (select * from (select * from records."com_example_everything" t24 where (not t24.hidden) and (t24."flag" = $1::boolean)
order by t24.sort_at desc fetch first 51 rows with ties) t24
order by t24.sort_at desc, t24.rkey desc, t24.did desc limit 51) t24
order by t24.sort_at desc, t24.rkey desc, t24.did desc;
-- $1: where.flag.eq (value boolean)

-- booleanNe
select t25.rkey
from (select * from (select * from records."com_example_everything" t25 where (not t25.hidden) and (t25."flag" is distinct from $1::boolean)
order by t25.sort_at desc fetch first 51 rows with ties) t25
order by t25.sort_at desc, t25.rkey desc, t25.did desc limit 51) t25
order by t25.sort_at desc, t25.rkey desc, t25.did desc;
-- $1: where.flag.ne (value boolean)

-- long
select t26.rkey,
  t26."n"::text
from (select * from (select * from records."com_example_everything" t26 where (not t26.hidden) and (t26."n" = $1::bigint)
order by t26.sort_at desc fetch first 51 rows with ties) t26
order by t26.sort_at desc, t26.rkey desc, t26.did desc limit 51) t26
order by t26.sort_at desc, t26.rkey desc, t26.did desc;
-- $1: where.n.eq (value bigint)
