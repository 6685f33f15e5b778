-- cost 4651

-- comMyrecipesRecipe
select t1.did,
  t1.rkey,
  t1."title",
  (select json_build_array(count(*), avg(g.v1)::float8, min(g.v2)::text) from (select c3."rating" as v1, c3."created_at" as v2
from records."com_myrecipes_review" c3
where (not c3.hidden) and (c3."subject_uri" = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey))) g),
  ((select count(*) from records."com_myrecipes_review" c5 where (not c5.hidden) and (c5."subject_uri" = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey)) and (c5."rating" >= $1::bigint)))::text,
  (select json_build_array(count(*), avg(g.v1)::float8, max(g.v2)::text, min(g.v3)) from (select c6."rating" as v1, c6."created_at" as v2, (h7.handle) collate "C" as v3
from records."com_myrecipes_review" c6
left join atview.actor h7 on h7.did = c6.did
where (not c6.hidden) and (c6."subject_uri" = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey)) and (c6."rating" >= $1::bigint)) g),
  json_build_array(coalesce((select n.records from atview.link_count n where n.target = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey) and n.collection = 'com.myrecipes.review' and n.path = 'subject.uri'), 0)),
  (select json_build_array(count(*), max(g.v1), sum(g.v1)) from (select c11."celsius" as v1
from records."com_example_reading" c11
where (not c11.hidden) and (c11.did = t1.did)) g),
  (select json_agg(x12.r) from (select json_build_array(t10."station") as r from (select * from (select * from records."com_example_reading" t10 where (not t10.hidden) and (t10.did = t1.did)
order by t10.sort_at desc fetch first 51 rows with ties) t10
order by t10.sort_at desc, t10.rkey desc, t10.did desc limit 51) t10
order by t10.sort_at desc, t10.rkey desc, t10.did desc) x12)
from (select * from records."com_myrecipes_recipe" t1 where not t1.hidden
order by t1.did, t1.rkey limit 51) t1
order by t1.did, t1.rkey;
-- $1: where.rating.gte (value bigint)
