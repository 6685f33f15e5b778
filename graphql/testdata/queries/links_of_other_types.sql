-- cost 302

-- comMyrecipesLike
select t1."subject_uri",
  r3.rkey,
  r3."rating"::text
from (with n2 as materialized (select * from records."com_myrecipes_like" t1 where (not t1.hidden) and (t1."created_at" is not null)
order by t1."created_at", t1.rkey, t1.did limit 51)
select * from (select * from n2 union all (select * from records."com_myrecipes_like" t1 where (not t1.hidden) and (t1."created_at" is null) and ((select count(*) from n2) < 51)
order by t1.rkey, t1.did limit 51)) t1
order by t1."created_at", t1.rkey, t1.did limit 51) t1
left join records."com_myrecipes_review" r3 on r3.rkey = split_part(t1."subject_uri", '/', 5) and r3.did = split_part(t1."subject_uri", '/', 3) and split_part(t1."subject_uri", '/', 4) = 'com.myrecipes.review' and not r3.hidden
order by t1."created_at", t1.rkey, t1.did;

-- comMyrecipesRecipe
select t4."title",
  t4."based_on_uri"
from (select * from (select * from records."com_myrecipes_recipe" t4 where (not t4.hidden) and (not (jsonb_typeof((t4.record -> 'basedOn')) is distinct from 'object'))
order by t4.sort_at desc fetch first 51 rows with ties) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc limit 51) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc;
