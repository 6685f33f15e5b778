-- cost 111

-- comMyrecipesRecipe
select t1.sort_at::text,
  t1.rkey,
  t1.did,
  t1.cid,
  t1.rev,
  t1.indexed_at::text,
  h3.handle,
  t1."title",
  t1."servings"::text,
  t1."created_at"::text,
  t1.record -> 'ingredients',
  case when t1.flagged then (select json_agg(json_build_array(f4.path, f4.reason) order by f4.ordinal) from atview.flag f4 where f4.rkey = t1.rkey and f4.did = t1.did and f4.collection = 'com.myrecipes.recipe') end
from (select * from (select * from records."com_myrecipes_recipe" t1 where not t1.hidden
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
left join atview.actor h3 on h3.did = t1.did
order by t1.sort_at desc, t1.rkey desc, t1.did desc;

-- comMyrecipesRecipe, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c2 where not c2.hidden))::text;
