-- cost 16

-- newest
select t1."title",
  t1."cuisine",
  s2.rkey,
  s2."display_name",
  (select json_agg(x4.r) from (select json_build_array(t3."title", t3."cuisine") as r from (select * from (select * from records."com_myrecipes_recipe" t3 where (not t3.hidden) and (t3.did = s2.did)
order by t3.sort_at desc fetch first 3 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 3) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc) x4),
  (select json_agg(x6.r) from (select json_build_array(t5."text", t5."rating") as r from (select * from (select * from records."com_myrecipes_review" t5 where (not t5.hidden) and (t5."subject_uri" = ('at://' || t1.did || '/com.myrecipes.recipe/' || t1.rkey))
order by t5.sort_at desc fetch first 2 rows with ties) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc limit 2) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc) x6),
  t1."servings"::text
from (select * from (select * from records."com_myrecipes_recipe" t1 where (not t1.hidden) and (t1.flagged = $1::boolean)
order by t1.sort_at desc fetch first 2 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 2) t1
left join records."app_bsky_actor_profile" s2 on s2.rkey = 'self' and s2.did = t1.did and not s2.hidden
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.flagged.eq (value boolean)

-- oldest
select t7."title",
  t7."cuisine",
  s8.rkey,
  s8."display_name",
  (select json_agg(x10.r) from (select json_build_array(t9."title", t9."cuisine") as r from (select * from (select * from records."com_myrecipes_recipe" t9 where (not t9.hidden) and (t9.did = s8.did)
order by t9.sort_at desc fetch first 3 rows with ties) t9
order by t9.sort_at desc, t9.rkey desc, t9.did desc limit 3) t9
order by t9.sort_at desc, t9.rkey desc, t9.did desc) x10),
  (select json_agg(x12.r) from (select json_build_array(t11."text", t11."rating") as r from (select * from (select * from records."com_myrecipes_review" t11 where (not t11.hidden) and (t11."subject_uri" = ('at://' || t7.did || '/com.myrecipes.recipe/' || t7.rkey))
order by t11.sort_at desc fetch first 2 rows with ties) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc limit 2) t11
order by t11.sort_at desc, t11.rkey desc, t11.did desc) x12),
  t7."servings"::text
from (select * from (select * from records."com_myrecipes_recipe" t7 where not t7.hidden
order by t7.sort_at fetch first 2 rows with ties) t7
order by t7.sort_at, t7.rkey, t7.did limit 2) t7
left join records."app_bsky_actor_profile" s8 on s8.rkey = 'self' and s8.did = t7.did and not s8.hidden
order by t7.sort_at desc, t7.rkey desc, t7.did desc;
