-- cost 10206

-- appBskyFeedPostByUri
select t1."text",
  (coalesce((select n.records from atview.link_count n where n.target = ('at://' || t1.did || '/app.bsky.feed.post/' || t1.rkey) and n.collection = 'app.bsky.feed.post' and n.path = 'reply.parent.uri'), 0))::text,
  (select json_agg(x8.r) from (select json_build_array(t2."text", coalesce((select n.records from atview.link_count n where n.target = ('at://' || t2.did || '/app.bsky.feed.post/' || t2.rkey) and n.collection = 'app.bsky.feed.post' and n.path = 'reply.parent.uri'), 0), (select json_agg(x7.r) from (select json_build_array(t3."text", t3.record -> 'reply', t3."reply_root_uri", r4.rkey, r4."text", t3."reply_parent_uri", r5.rkey, r5."text", r5.record -> 'reply', r5."reply_parent_uri", r6.rkey, r6."text") as r from (select * from (select * from records."app_bsky_feed_post" t3 where (not t3.hidden) and (t3."reply_parent_uri" = ('at://' || t2.did || '/app.bsky.feed.post/' || t2.rkey))
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
left join records."app_bsky_feed_post" r4 on r4.rkey = split_part(t3."reply_root_uri", '/', 5) and r4.did = split_part(t3."reply_root_uri", '/', 3) and split_part(t3."reply_root_uri", '/', 4) = 'app.bsky.feed.post' and not r4.hidden
left join records."app_bsky_feed_post" r5 on r5.rkey = split_part(t3."reply_parent_uri", '/', 5) and r5.did = split_part(t3."reply_parent_uri", '/', 3) and split_part(t3."reply_parent_uri", '/', 4) = 'app.bsky.feed.post' and not r5.hidden
left join records."app_bsky_feed_post" r6 on r6.rkey = split_part(r5."reply_parent_uri", '/', 5) and r6.did = split_part(r5."reply_parent_uri", '/', 3) and split_part(r5."reply_parent_uri", '/', 4) = 'app.bsky.feed.post' and not r6.hidden
order by t3.sort_at desc, t3.rkey desc, t3.did desc) x7)) as r from (select * from (select * from records."app_bsky_feed_post" t2 where (not t2.hidden) and (t2."reply_parent_uri" = ('at://' || t1.did || '/app.bsky.feed.post/' || t1.rkey))
order by t2.sort_at desc fetch first 51 rows with ties) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc limit 51) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc) x8),
  (coalesce((select n.records from atview.link_count n where n.target = ('at://' || t1.did || '/app.bsky.feed.post/' || t1.rkey) and n.collection = 'app.bsky.feed.post' and n.path = 'reply.root.uri'), 0))::text,
  (select json_agg(x11.r) from (select json_build_array(t9."text") as r from (with n10 as materialized (select * from records."app_bsky_feed_post" t9 where (not t9.hidden) and (t9."reply_root_uri" = ('at://' || t1.did || '/app.bsky.feed.post/' || t1.rkey)) and (t9."created_at" is not null)
order by t9."created_at", t9.rkey, t9.did limit 51)
select * from (select * from n10 union all (select * from records."app_bsky_feed_post" t9 where (not t9.hidden) and (t9."reply_root_uri" = ('at://' || t1.did || '/app.bsky.feed.post/' || t1.rkey)) and (t9."created_at" is null) and ((select count(*) from n10) < 51)
order by t9.rkey, t9.did limit 51)) t9
order by t9."created_at", t9.rkey, t9.did limit 51) t9
order by t9."created_at", t9.rkey, t9.did) x11),
  (coalesce((select n.records from atview.link_count n where n.target = ('at://' || t1.did || '/app.bsky.feed.post/' || t1.rkey) and n.collection = 'app.bsky.feed.like' and n.path = 'subject.uri'), 0))::text
from records."app_bsky_feed_post" t1
where t1.rkey = $1::text and t1.did = case when $2::text like 'did:%' then $2::text else (select a.did from atview.actor a where a.handle = $2::text limit 1) end and $3::text = 'app.bsky.feed.post' and not t1.hidden;
-- $1: uri (rkey text)
-- $2: uri (authority text)
-- $3: uri (collection text)
