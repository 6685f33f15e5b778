-- cost 60600

-- appBskyFeedPostAggregated
select g.v1,
  count(*)::text
from (select (case when jsonb_typeof(((t1.record -> 'embed') -> '$type')) = 'string' then (((t1.record -> 'embed') -> '$type')) #>> '{}' end collate "C") collate "C" as v1
from records."app_bsky_feed_post" t1
where not t1.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- langs
select g.v1,
  count(*)::text
from (select e3.v as v1
from records."app_bsky_feed_post" t2
left join lateral (select distinct u5.v collate "C" as v from unnest(coalesce(t2."langs", case when t2.flagged then array(select case when jsonb_typeof(e4.v) = 'string' then (e4.v) #>> '{}' end collate "C" as v from jsonb_array_elements(case when jsonb_typeof((t2.record -> 'langs')) = 'array' then (t2.record -> 'langs') end) e4(v)) end)) u5(v) where u5.v is not null) e3 on true
where not t2.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- features
select g.v1,
  count(*)::text
from (select e7.v as v1
from records."app_bsky_feed_post" t6
left join lateral (select distinct u10.v collate "C" as v from (select case when jsonb_typeof((e9.v -> '$type')) = 'string' then ((e9.v -> '$type')) #>> '{}' end collate "C" as v from jsonb_array_elements(case when jsonb_typeof((t6.record -> 'facets')) = 'array' then (t6.record -> 'facets') end) e8(v), jsonb_array_elements(case when jsonb_typeof((e8.v -> 'features')) = 'array' then (e8.v -> 'features') end) e9(v)) u10 where u10.v is not null) e7 on true
where not t6.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- starts
select g.v1::text,
  count(*)::text
from (select e12.v as v1
from records."app_bsky_feed_post" t11
left join lateral (select distinct u14.v as v from (select case when jsonb_typeof(((e13.v -> 'index') -> 'byteStart')) = 'number' and (((e13.v -> 'index') -> 'byteStart'))::numeric % 1 = 0 and abs((((e13.v -> 'index') -> 'byteStart'))::numeric) < 9223372036854775808 then (((e13.v -> 'index') -> 'byteStart'))::bigint end as v from jsonb_array_elements(case when jsonb_typeof((t11.record -> 'facets')) = 'array' then (t11.record -> 'facets') end) e13(v)) u14 where u14.v is not null) e12 on true
where not t11.hidden) g
group by g.v1
order by g.v1
limit 100;

-- roots
select g.v1,
  count(*)::text,
  (count(distinct g.v2))::text
from (select (coalesce(t15."reply_root_uri", case when t15.flagged then case when jsonb_typeof((((t15.record -> 'reply') -> 'root') -> 'uri')) = 'string' then ((((t15.record -> 'reply') -> 'root') -> 'uri')) #>> '{}' end collate "C" end)) collate "C" as v1, (coalesce(t15."reply_parent_uri", case when t15.flagged then case when jsonb_typeof((((t15.record -> 'reply') -> 'parent') -> 'uri')) = 'string' then ((((t15.record -> 'reply') -> 'parent') -> 'uri')) #>> '{}' end collate "C" end)) collate "C" as v2
from records."app_bsky_feed_post" t15
where not t15.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- images
select g.v1,
  count(*)::text,
  sum(g.v2)::text
from (select (case when jsonb_typeof(((t16.record -> 'image') -> 'mimeType')) = 'string' then (((t16.record -> 'image') -> 'mimeType')) #>> '{}' end collate "C") collate "C" as v1, case when jsonb_typeof(((t16.record -> 'image') -> 'size')) = 'number' and (((t16.record -> 'image') -> 'size'))::numeric % 1 = 0 and abs((((t16.record -> 'image') -> 'size'))::numeric) < 9223372036854775808 then (((t16.record -> 'image') -> 'size'))::bigint end as v2
from records."com_myrecipes_recipe" t16
where not t16.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;
