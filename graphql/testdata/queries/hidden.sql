-- cost 278

-- comMyrecipesRecipe
select t1."title"
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and (t1."title" = $1::text)
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.title.eq (value text)

-- comMyrecipesRecipe, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c2 where (not c2.hidden) and (c2."title" = $1::text)))::text;
-- $1: where.title.eq (value text)

-- comMyrecipesReview
select t3."rating"::text,
  t3.record -> 'subject',
  t3."subject_uri",
  r4.rkey,
  r4."title"
from (select * from (select * from records."com_myrecipes_review" t3 where (not t3.hidden) and (t3."subject_uri" collate "C" ilike $1::text)
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
left join records."com_myrecipes_recipe" r4 on r4.rkey = split_part(t3."subject_uri", '/', 5) and r4.did = split_part(t3."subject_uri", '/', 3) and split_part(t3."subject_uri", '/', 4) = 'com.myrecipes.recipe' and not r4.hidden
order by t3.sort_at desc, t3.rkey desc, t3.did desc;
-- $1: where.subject.uri.contains (like text)

-- comMyrecipesRecipeByUri
select (coalesce((select n.records from atview.link_count n where n.target = ('at://' || t5.did || '/com.myrecipes.recipe/' || t5.rkey) and n.collection = 'com.myrecipes.review' and n.path = 'subject.uri'), 0))::text,
  (select json_agg(x7.r) from (select json_build_array(t6."rating") as r from (select * from (select * from records."com_myrecipes_review" t6 where (not t6.hidden) and (t6."subject_uri" = ('at://' || t5.did || '/com.myrecipes.recipe/' || t5.rkey))
order by t6.sort_at desc fetch first 51 rows with ties) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc limit 51) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc) x7),
  ((select count(*) from records."com_myrecipes_review" c9 where (not c9.hidden) and (c9."subject_uri" = ('at://' || t5.did || '/com.myrecipes.recipe/' || t5.rkey)) and (c9."rating" >= $1::bigint)))::text
from records."com_myrecipes_recipe" t5
where t5.rkey = $2::text and t5.did = case when $3::text like 'did:%' then $3::text else (select a.did from atview.actor a where a.handle = $3::text limit 1) end and $4::text = 'com.myrecipes.recipe' and not t5.hidden;
-- $1: where.rating.gte (value bigint)
-- $2: uri (rkey text)
-- $3: uri (authority text)
-- $4: uri (collection text)

-- appBskyFeedPostByUri
select (coalesce((select n.records from atview.link_count n where n.target = ('at://' || t10.did || '/app.bsky.feed.post/' || t10.rkey) and n.collection = 'app.bsky.feed.post' and n.path = 'reply.parent.uri'), 0))::text,
  (select json_agg(x12.r) from (select json_build_array(t11."text") as r from (select * from (select * from records."app_bsky_feed_post" t11 where (not t11.hidden) and (t11."reply_parent_uri" = ('at://' || t10.did || '/app.bsky.feed.post/' || t10.rkey))
order by t11.sort_at desc fetch first 51 rows with ties) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc limit 51) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc) x12)
from records."app_bsky_feed_post" t10
where t10.rkey = $1::text and t10.did = case when $2::text like 'did:%' then $2::text else (select a.did from atview.actor a where a.handle = $2::text limit 1) end and $3::text = 'app.bsky.feed.post' and not t10.hidden;
-- $1: uri (rkey text)
-- $2: uri (authority text)
-- $3: uri (collection text)
