-- cost 2201

-- appBskyFeedPost
select t1."text",
  t1j.record -> 'facets',
  t1j.record -> 'embed',
  t1.did,
  (select json_agg(x3.r) from (select json_build_array(u2.uri, r4.rkey, r4."title") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."embed"."record"."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u2
left join records."com_myrecipes_recipe" r4 on r4.rkey = u2.rkey and r4.did = u2.did and u2.nsid = 'com.myrecipes.recipe' and not r4.hidden) x3),
  (select json_agg(x6.r) from (select json_build_array(u5.uri, r7.rkey, r7."text", s8.rkey, s8."display_name") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."embed"."record"."record"."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u5
left join records."app_bsky_feed_post" r7 on r7.rkey = u5.rkey and r7.did = u5.did and u5.nsid = 'app.bsky.feed.post' and not r7.hidden
left join records."app_bsky_actor_profile" s8 on s8.rkey = 'self' and s8.did = r7.did and not s8.hidden) x6),
  (select json_agg(x10.r) from (select json_build_array(u9.uri, r11.rkey, r11."title") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."embed"."media"."external"."associatedRefs"[*]."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u9
left join records."com_myrecipes_recipe" r11 on r11.rkey = u9.rkey and r11.did = u9.did and u9.nsid = 'com.myrecipes.recipe' and not r11.hidden) x10),
  t1j.record -> 'labels'
from (select * from (select * from records."app_bsky_feed_post" t1 where not t1.hidden
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
cross join lateral (select t1.record || '{}' as record offset 0) t1j
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
