-- cost 1601

-- comMyrecipesCollection
select t1."name",
  t1j.record -> 'items',
  (select json_agg(x3.r) from (select json_build_array(u2.uri, r4.rkey, r4."title", coalesce((select n.records from atview.link_count n where n.target = ('at://' || r4.did || '/com.myrecipes.recipe/' || r4.rkey) and n.collection = 'com.myrecipes.review' and n.path = 'subject.uri'), 0), s6.rkey, s6."display_name") as r from (select p.uri, split_part(p.uri, '/', 3) as did, split_part(p.uri, '/', 4) as nsid, split_part(p.uri, '/', 5) as rkey from (select distinct v #>> '{}' as uri from jsonb_path_query(t1j.record, 'lax $."items"[*]."uri"') v where jsonb_typeof(v) = 'string' limit 1000) p) u2
left join records."com_myrecipes_recipe" r4 on r4.rkey = u2.rkey and r4.did = u2.did and u2.nsid = 'com.myrecipes.recipe' and not r4.hidden
left join records."app_bsky_actor_profile" s6 on s6.rkey = 'self' and s6.did = r4.did and not s6.hidden) x3)
from (select * from (select * from records."com_myrecipes_collection" t1 where not t1.hidden
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
cross join lateral (select t1.record || '{}' as record offset 0) t1j
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
