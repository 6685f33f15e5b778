-- cost 4701

-- comExampleEverything
select t1.rkey,
  t1."text",
  t1."n"::text,
  t1."flag"::text,
  t1."at"::text,
  coalesce(t1."link", case when t1.flagged then case when jsonb_typeof(t1.record -> 'link') = 'string' then (t1.record -> 'link') #>> '{}' end collate "C" end),
  t1."link",
  r2.rkey,
  r2."title",
  coalesce(t1."account", case when t1.flagged then case when jsonb_typeof(t1.record -> 'account') = 'string' then (t1.record -> 'account') #>> '{}' end collate "C" end),
  coalesce(t1."site", case when t1.flagged then case when jsonb_typeof(t1.record -> 'site') = 'string' then (t1.record -> 'site') #>> '{}' end collate "C" end),
  t1j.record -> 'words',
  t1j.record -> 'numbers',
  t1j.record -> 'flags',
  t1j.record -> 'moments',
  t1j.record -> 'links',
  (select json_agg(x4.r) from (select json_build_array(u3.uri, r5.rkey, r5."title") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."links"[*]') v where jsonb_typeof(v) = 'string' limit 1000) p) u3
left join records."com_myrecipes_recipe" r5 on r5.rkey = u3.rkey and r5.did = u3.did and u3.nsid = 'com.myrecipes.recipe' and not r5.hidden) x4),
  (select json_agg(x7.r) from (select json_build_array(u6.uri, r8.rkey, r8."title") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."refs"[*]."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u6
left join records."com_myrecipes_recipe" r8 on r8.rkey = u6.rkey and r8.did = u6.did and u6.nsid = 'com.myrecipes.recipe' and not r8.hidden) x7),
  t1j.record -> 'refs',
  t1j.record -> 'bytes',
  t1."cid_link",
  t1j.record -> 'anything',
  t1j.record -> 'file',
  t1.did,
  t1j.record -> 'files',
  t1j.record -> 'inner',
  t1."inner_ref_uri",
  r9.rkey,
  r9."title",
  t1."inner_link",
  r10.rkey,
  r10."text",
  t1."inner_deeper_ref_uri",
  r11.rkey,
  r11."title",
  t1j.record -> 'inners',
  (select json_agg(x13.r) from (select json_build_array(u12.uri, r14.rkey, r14."title") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."inners"[*]."ref"."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u12
left join records."com_myrecipes_recipe" r14 on r14.rkey = u12.rkey and r14.did = u12.did and u12.nsid = 'com.myrecipes.recipe' and not r14.hidden) x13),
  (select json_agg(x16.r) from (select json_build_array(u15.uri, r17.rkey, r17."text") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."inners"[*]."link"') v where jsonb_typeof(v) = 'string' limit 1000) p) u15
left join records."app_bsky_feed_post" r17 on r17.rkey = u15.rkey and r17.did = u15.did and u15.nsid = 'app.bsky.feed.post' and not r17.hidden) x16),
  (select json_agg(x19.r) from (select json_build_array(u18.uri, r20.rkey, r20."title") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."inners"[*]."deeper"."ref"."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u18
left join records."com_myrecipes_recipe" r20 on r20.rkey = u18.rkey and r20.did = u18.did and u18.nsid = 'com.myrecipes.recipe' and not r20.hidden) x19),
  t1j.record -> 'open',
  t1j.record -> 'closed',
  (select json_agg(x22.r) from (select json_build_array(u21.uri, r23.rkey, r23."title") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."closed"."ref"."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u21
left join records."com_myrecipes_recipe" r23 on r23.rkey = u21.rkey and r23.did = u21.did and u21.nsid = 'com.myrecipes.recipe' and not r23.hidden) x22),
  (select json_agg(x25.r) from (select json_build_array(u24.uri, r26.rkey, r26."text") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."closed"."link"') v where jsonb_typeof(v) = 'string' limit 1000) p) u24
left join records."app_bsky_feed_post" r26 on r26.rkey = u24.rkey and r26.did = u24.did and u24.nsid = 'app.bsky.feed.post' and not r26.hidden) x25),
  (select json_agg(x28.r) from (select json_build_array(u27.uri, r29.rkey, r29."title") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."closed"."deeper"."ref"."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u27
left join records."com_myrecipes_recipe" r29 on r29.rkey = u27.rkey and r29.did = u27.did and u27.nsid = 'com.myrecipes.recipe' and not r29.hidden) x28),
  t1j.record -> 'opens',
  t1j.record -> 'empty',
  t1j.record -> 'nothing',
  case when t1.flagged then (select json_agg(json_build_array(f30.path, f30.reason) order by f30.ordinal) from atview.flag f30 where f30.rkey = t1.rkey and f30.did = t1.did and f30.collection = 'com.example.everything') end
from (select * from records."com_example_everything" t1 where not t1.hidden
order by t1.rkey, t1.did limit 51) t1
left join records."com_myrecipes_recipe" r2 on r2.rkey = split_part(t1."link", '/', 5) and r2.did = split_part(t1."link", '/', 3) and split_part(t1."link", '/', 4) = 'com.myrecipes.recipe' and not r2.hidden
left join records."com_myrecipes_recipe" r9 on r9.rkey = split_part(t1."inner_ref_uri", '/', 5) and r9.did = split_part(t1."inner_ref_uri", '/', 3) and split_part(t1."inner_ref_uri", '/', 4) = 'com.myrecipes.recipe' and not r9.hidden
left join records."app_bsky_feed_post" r10 on r10.rkey = split_part(t1."inner_link", '/', 5) and r10.did = split_part(t1."inner_link", '/', 3) and split_part(t1."inner_link", '/', 4) = 'app.bsky.feed.post' and not r10.hidden
left join records."com_myrecipes_recipe" r11 on r11.rkey = split_part(t1."inner_deeper_ref_uri", '/', 5) and r11.did = split_part(t1."inner_deeper_ref_uri", '/', 3) and split_part(t1."inner_deeper_ref_uri", '/', 4) = 'com.myrecipes.recipe' and not r11.hidden
cross join lateral (select t1.record || '{}' as record offset 0) t1j
order by t1.rkey, t1.did;
