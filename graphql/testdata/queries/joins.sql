-- cost 27086

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
  ((select count(*) from records."com_myrecipes_recipe" c13 where (not c13.hidden) and (c13.did = t1.did)))::text,
  (select json_agg(x14.r) from (select json_build_array(t12."title") as r from (select * from records."com_myrecipes_recipe" t12 where (not t12.hidden) and (t12.did = t1.did)
order by t12."title", t12.rkey, t12.did limit 51) t12
order by t12."title", t12.rkey, t12.did) x14),
  (select json_agg(x19.r) from (select json_build_array(t15."title", (select json_agg(x18.r) from (select json_build_array(t16."title", t16."based_on_uri", r17.rkey, r17."title") as r from (select * from (select * from records."com_myrecipes_recipe" t16 where (not t16.hidden) and (t16."based_on_uri" = ('at://' || t15.did || '/com.myrecipes.recipe/' || t15.rkey))
order by t16.sort_at desc fetch first 51 rows with ties) t16
order by t16.sort_at desc, t16.rkey desc, t16.did desc limit 51) t16
left join records."com_myrecipes_recipe" r17 on r17.rkey = split_part(t16."based_on_uri", '/', 5) and r17.did = split_part(t16."based_on_uri", '/', 3) and split_part(t16."based_on_uri", '/', 4) = 'com.myrecipes.recipe' and not r17.hidden
order by t16.sort_at desc, t16.rkey desc, t16.did desc) x18)) as r from (select * from (select * from records."com_myrecipes_recipe" t15 where (not t15.hidden) and (t15."based_on_uri" = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey))
order by t15.sort_at desc fetch first 51 rows with ties) t15
order by t15.sort_at desc, t15.rkey desc, t15.did desc limit 51) t15
order by t15.sort_at desc, t15.rkey desc, t15.did desc) x19),
  (coalesce((select n.records from atview.link_count n where n.target = t1.did and n.collection = 'app.bsky.graph.follow' and n.path = 'subject'), 0))::text,
  (select json_agg(x21.r) from (select json_build_array(t20.did) as r from (select * from (select * from records."app_bsky_graph_follow" t20 where (not t20.hidden) and (t20."subject" = t1.did)
order by t20.sort_at desc fetch first 51 rows with ties) t20
order by t20.sort_at desc, t20.rkey desc, t20.did desc limit 51) t20
order by t20.sort_at desc, t20.rkey desc, t20.did desc) x21)
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and (t1."title" = $1::text)
order by t1.sort_at desc fetch first 6 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 6) t1
left join records."app_bsky_actor_profile" s2 on s2.rkey = 'self' and s2.did = t1.did and not s2.hidden
left join atview.actor h3 on h3.did = s2.did
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.title.eq (value text)
