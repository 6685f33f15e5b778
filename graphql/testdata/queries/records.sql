-- cost 130

-- recipe
select t1."title"
from records."com_myrecipes_recipe" t1
where t1.rkey = $1::text and t1.did = case when $2::text like 'did:%' then $2::text else (select a.did from atview.actor a where a.handle = $2::text limit 1) end and $3::text = 'com.myrecipes.recipe' and not t1.hidden;
-- $1: uri (rkey text)
-- $2: uri (authority text)
-- $3: uri (collection text)

-- recipeElsewhere
select t2."title"
from records."com_myrecipes_recipe" t2
where t2.rkey = $1::text and t2.did = case when $2::text like 'did:%' then $2::text else (select a.did from atview.actor a where a.handle = $2::text limit 1) end and $3::text = 'com.myrecipes.recipe' and not t2.hidden;
-- $1: uri (rkey text)
-- $2: uri (authority text)
-- $3: uri (collection text)

-- recipeGone
select t3."title"
from records."com_myrecipes_recipe" t3
where t3.rkey = $1::text and t3.did = case when $2::text like 'did:%' then $2::text else (select a.did from atview.actor a where a.handle = $2::text limit 1) end and $3::text = 'com.myrecipes.recipe' and not t3.hidden;
-- $1: uri (rkey text)
-- $2: uri (authority text)
-- $3: uri (collection text)

-- recipeHidden
select t4."title"
from records."com_myrecipes_recipe" t4
where t4.rkey = $1::text and t4.did = case when $2::text like 'did:%' then $2::text else (select a.did from atview.actor a where a.handle = $2::text limit 1) end and $3::text = 'com.myrecipes.recipe' and not t4.hidden;
-- $1: uri (rkey text)
-- $2: uri (authority text)
-- $3: uri (collection text)

-- any
select u5.uri,
  r6.rkey,
  r6."title",
  r6.record
from (select 'at://' || did || '/' || nsid || '/' || rkey as uri, did, nsid, rkey from (select case when $1::text like 'did:%' then $1::text else (select a.did from atview.actor a where a.handle = $1::text limit 1) end as did, $2::text as nsid, $3::text as rkey) p) u5
left join records."com_myrecipes_recipe" r6 on r6.rkey = u5.rkey and r6.did = u5.did and u5.nsid = 'com.myrecipes.recipe' and not r6.hidden;
-- $1: uri (authority text)
-- $2: uri (collection text)
-- $3: uri (rkey text)

-- byHandle
select u7.uri,
  r8.rkey,
  r8."text"
from (select 'at://' || did || '/' || nsid || '/' || rkey as uri, did, nsid, rkey from (select case when $1::text like 'did:%' then $1::text else (select a.did from atview.actor a where a.handle = $1::text limit 1) end as did, $2::text as nsid, $3::text as rkey) p) u7
left join records."app_bsky_feed_post" r8 on r8.rkey = u7.rkey and r8.did = u7.did and u7.nsid = 'app.bsky.feed.post' and not r8.hidden;
-- $1: uri (authority text)
-- $2: uri (collection text)
-- $3: uri (rkey text)

-- nameOnly
select u9.uri
from (select 'at://' || did || '/' || nsid || '/' || rkey as uri, did, nsid, rkey from (select case when $1::text like 'did:%' then $1::text else (select a.did from atview.actor a where a.handle = $1::text limit 1) end as did, $2::text as nsid, $3::text as rkey) p) u9;
-- $1: uri (authority text)
-- $2: uri (collection text)
-- $3: uri (rkey text)

-- nothing
select u10.uri,
  r11.rkey,
  r11."title"
from (select 'at://' || did || '/' || nsid || '/' || rkey as uri, did, nsid, rkey from (select case when $1::text like 'did:%' then $1::text else (select a.did from atview.actor a where a.handle = $1::text limit 1) end as did, $2::text as nsid, $3::text as rkey) p) u10
left join records."com_myrecipes_recipe" r11 on r11.rkey = u10.rkey and r11.did = u10.did and u10.nsid = 'com.myrecipes.recipe' and not r11.hidden;
-- $1: uri (authority text)
-- $2: uri (collection text)
-- $3: uri (rkey text)

-- gone
select u12.uri
from (select 'at://' || did || '/' || nsid || '/' || rkey as uri, did, nsid, rkey from (select case when $1::text like 'did:%' then $1::text else (select a.did from atview.actor a where a.handle = $1::text limit 1) end as did, $2::text as nsid, $3::text as rkey) p) u12;
-- $1: uri (authority text)
-- $2: uri (collection text)
-- $3: uri (rkey text)

-- hidden
select u13.uri
from (select 'at://' || did || '/' || nsid || '/' || rkey as uri, did, nsid, rkey from (select case when $1::text like 'did:%' then $1::text else (select a.did from atview.actor a where a.handle = $1::text limit 1) end as did, $2::text as nsid, $3::text as rkey) p) u13;
-- $1: uri (authority text)
-- $2: uri (collection text)
-- $3: uri (rkey text)

-- elsewhere
select u14.uri
from (select 'at://' || did || '/' || nsid || '/' || rkey as uri, did, nsid, rkey from (select case when $1::text like 'did:%' then $1::text else (select a.did from atview.actor a where a.handle = $1::text limit 1) end as did, $2::text as nsid, $3::text as rkey) p) u14;
-- $1: uri (authority text)
-- $2: uri (collection text)
-- $3: uri (rkey text)

-- actor
select a15.did,
  a15.handle,
  s16.rkey,
  s16."display_name",
  ((select count(*) from records."com_myrecipes_recipe" c18 where (not c18.hidden) and (c18.did = a15.did)))::text,
  (select json_agg(x19.r) from (select json_build_array(t17."title") as r from (select * from (select * from records."com_myrecipes_recipe" t17 where (not t17.hidden) and (t17.did = a15.did)
order by t17.sort_at desc fetch first 2 rows with ties) t17
order by t17.sort_at desc, t17.rkey desc, t17.did desc limit 2) t17
order by t17.sort_at desc, t17.rkey desc, t17.did desc) x19),
  (coalesce((select n.records from atview.link_count n where n.target = a15.did and n.collection = 'app.bsky.graph.follow' and n.path = 'subject'), 0))::text,
  (select json_agg(x22.r) from (select json_build_array(h21.handle) as r from (select * from (select * from records."app_bsky_graph_follow" t20 where (not t20.hidden) and (t20."subject" = a15.did)
order by t20.sort_at desc fetch first 51 rows with ties) t20
order by t20.sort_at desc, t20.rkey desc, t20.did desc limit 51) t20
left join atview.actor h21 on h21.did = t20.did
order by t20.sort_at desc, t20.rkey desc, t20.did desc) x22)
from (select did, handle from atview.actor where handle = $1::text and status = 'active' order by did limit 1) a15
left join records."app_bsky_actor_profile" s16 on s16.rkey = 'self' and s16.did = a15.did and not s16.hidden;
-- $1: handle (value text)

-- unknown
select a23.did,
  a23.handle,
  (select json_agg(x25.r) from (select json_build_array(t24."title") as r from (select * from (select * from records."com_myrecipes_recipe" t24 where (not t24.hidden) and (t24.did = a23.did)
order by t24.sort_at desc fetch first 51 rows with ties) t24
order by t24.sort_at desc, t24.rkey desc, t24.did desc limit 51) t24
order by t24.sort_at desc, t24.rkey desc, t24.did desc) x25)
from (select d.did, o.handle from (select $1::text as did) d left join atview.actor o on o.did = d.did where coalesce(o.status, 'active') = 'active') a23;
-- $1: did (did text)

-- inactive
select a26.did
from (select d.did, o.handle from (select $1::text as did) d left join atview.actor o on o.did = d.did where coalesce(o.status, 'active') = 'active') a26;
-- $1: did (did text)
