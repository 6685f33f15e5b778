-- cost 27131

-- comMyrecipesRecipe
select t1."title",
  s2.rkey,
  s2."display_name",
  s2.record -> 'avatar',
  s2.did,
  h3.handle,
  (coalesce((select n.records from atview.link_count n where n.target = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey) and n.collection = 'com.myrecipes.review' and n.path = 'subject.uri'), 0))::text,
  (select json_agg(x11.r) from (select json_build_array(t4."rating", h5.handle, t4."subject_uri", r6.rkey, r6."title", r6.did, coalesce((select n.records from atview.link_count n where n.target = ('at://' || t4.did || '/com.myrecipes.review/' || t4.rkey) and n.collection = 'com.myrecipes.like' and n.path = 'subject.uri'), 0), (select json_agg(x10.r) from (select json_build_array(h8.handle, s9.rkey, s9."display_name") as r from (select * from (select * from records."com_myrecipes_like" t7 where (not t7.hidden) and (t7."subject_uri" = ('at://' || t4.did || '/com.myrecipes.review/' || t4.rkey))
order by t7.sort_at desc fetch first 51 rows with ties) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc limit 51) t7
left join atview.actor h8 on h8.did = t7.did
left join records."app_bsky_actor_profile" s9 on s9.rkey = 'self' and s9.did = t7.did and not s9.hidden
order by t7.sort_at desc, t7.rkey desc, t7.did desc) x10)) as r from (select * from (select * from records."com_myrecipes_review" t4 where (not t4.hidden) and (t4."subject_uri" = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey))
order by t4.sort_at desc fetch first 3 rows with ties) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc limit 3) t4
left join atview.actor h5 on h5.did = t4.did
left join records."com_myrecipes_recipe" r6 on r6.rkey = split_part(t4."subject_uri", '/', 5) and r6.did = split_part(t4."subject_uri", '/', 3) and split_part(t4."subject_uri", '/', 4) = 'com.myrecipes.recipe' and not r6.hidden
order by t4.sort_at desc, t4.rkey desc, t4.did desc) x11),
  ((select count(*) from records."com_myrecipes_recipe" c14 where (not c14.hidden) and (c14.did = t1.did)))::text,
  (select json_agg(x15.r) from (select json_build_array(t12."title") as r from (with n13 as materialized (select * from records."com_myrecipes_recipe" t12 where (not t12.hidden) and (t12.did = t1.did) and (t12."title" is not null)
order by t12."title", t12.rkey, t12.did limit 51)
select * from (select * from n13 union all (select * from records."com_myrecipes_recipe" t12 where (not t12.hidden) and (t12.did = t1.did) and (t12."title" is null) and ((select count(*) from n13) < 51)
order by t12.rkey, t12.did limit 51)) t12
order by t12."title", t12.rkey, t12.did limit 51) t12
order by t12."title", t12.rkey, t12.did) x15),
  (select json_agg(x20.r) from (select json_build_array(t16."title", (select json_agg(x19.r) from (select json_build_array(t17."title", t17."based_on_uri", r18.rkey, r18."title") as r from (select * from (select * from records."com_myrecipes_recipe" t17 where (not t17.hidden) and (t17."based_on_uri" = ('at://' || t16.did || '/com.myrecipes.recipe/' || t16.rkey))
order by t17.sort_at desc fetch first 51 rows with ties) t17
order by t17.sort_at desc, t17.rkey desc, t17.did desc limit 51) t17
left join records."com_myrecipes_recipe" r18 on r18.rkey = split_part(t17."based_on_uri", '/', 5) and r18.did = split_part(t17."based_on_uri", '/', 3) and split_part(t17."based_on_uri", '/', 4) = 'com.myrecipes.recipe' and not r18.hidden
order by t17.sort_at desc, t17.rkey desc, t17.did desc) x19)) as r from (select * from (select * from records."com_myrecipes_recipe" t16 where (not t16.hidden) and (t16."based_on_uri" = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey))
order by t16.sort_at desc fetch first 51 rows with ties) t16
order by t16.sort_at desc, t16.rkey desc, t16.did desc limit 51) t16
order by t16.sort_at desc, t16.rkey desc, t16.did desc) x20),
  (coalesce((select n.records from atview.link_count n where n.target = t1.did and n.collection = 'app.bsky.graph.follow' and n.path = 'subject'), 0))::text,
  (select json_agg(x22.r) from (select json_build_array(t21.did) as r from (select * from (select * from records."app_bsky_graph_follow" t21 where (not t21.hidden) and (t21."subject" = t1.did)
order by t21.sort_at desc fetch first 51 rows with ties) t21
order by t21.sort_at desc, t21.rkey desc, t21.did desc limit 51) t21
order by t21.sort_at desc, t21.rkey desc, t21.did desc) x22)
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and (t1."title" = $1::text)
order by t1.sort_at desc fetch first 6 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 6) t1
left join records."app_bsky_actor_profile" s2 on s2.rkey = 'self' and s2.did = t1.did and not s2.hidden
left join atview.actor h3 on h3.did = s2.did
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.title.eq (value text)
