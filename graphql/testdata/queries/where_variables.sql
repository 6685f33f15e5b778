-- cost 184

-- whole
select t1."title"
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and (((t1."title" collate "C" ~ $1::text) or (t1."servings" >= $2::bigint)) and ((t1.did = any($3::text[])) is not true))
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.or[0].title.contains (fold text)
-- $2: where.or[1].servings.gte (value bigint)
-- $3: where.not.did.in (list text[])

-- part
select t2."title"
from (select * from (select * from records."com_myrecipes_recipe" t2 where (not t2.hidden) and ((t2."servings" >= $1::bigint) and (t2."tags" && $2::text[]))
order by t2.sort_at desc fetch first 51 rows with ties) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc limit 51) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc;
-- $1: where.servings.gte (value bigint)
-- $2: where.tags.hasAny (list text[])

-- list
select t3."title"
from (select * from (select * from records."com_myrecipes_recipe" t3 where (not t3.hidden) and (t3."tags" @> $1::text[])
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc;
-- $1: where.tags.hasAll (list text[])

-- joined
select t4."subject_uri",
  r5.rkey,
  ((select count(*) from records."com_myrecipes_review" c7 where (not c7.hidden) and (c7."subject_uri" = ('at://' || r5.did || '/com.myrecipes.recipe/' || r5.rkey)) and (c7."rating" >= $1::bigint)))::text,
  (select json_agg(x8.r) from (select json_build_array(t6."rating") as r from (select * from (select * from records."com_myrecipes_review" t6 where (not t6.hidden) and (t6."subject_uri" = ('at://' || r5.did || '/com.myrecipes.recipe/' || r5.rkey)) and (t6."rating" >= $1::bigint)
order by t6.sort_at desc fetch first 3 rows with ties) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc limit 3) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc) x8)
from (select * from (select * from records."com_myrecipes_review" t4 where not t4.hidden
order by t4.sort_at desc fetch first 3 rows with ties) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc limit 3) t4
left join records."com_myrecipes_recipe" r5 on r5.rkey = split_part(t4."subject_uri", '/', 5) and r5.did = split_part(t4."subject_uri", '/', 3) and split_part(t4."subject_uri", '/', 4) = 'com.myrecipes.recipe' and not r5.hidden
order by t4.sort_at desc, t4.rkey desc, t4.did desc;
-- $1: where.rating.gte (value bigint)
