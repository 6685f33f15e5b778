-- cost 302

-- comMyrecipesLike
select t1."subject_uri",
  r2.rkey,
  r2."rating"::text
from (select * from records."com_myrecipes_like" t1 where not t1.hidden
order by t1."created_at", t1.rkey, t1.did limit 51) t1
left join records."com_myrecipes_review" r2 on r2.rkey = split_part(t1."subject_uri", '/', 5) and r2.did = split_part(t1."subject_uri", '/', 3) and split_part(t1."subject_uri", '/', 4) = 'com.myrecipes.review' and not r2.hidden
order by t1."created_at", t1.rkey, t1.did;

-- comMyrecipesRecipe
select t3."title",
  t3."based_on_uri"
from (select * from (select * from records."com_myrecipes_recipe" t3 where (not t3.hidden) and (not (jsonb_typeof((t3.record -> 'basedOn')) is distinct from 'object'))
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc;
