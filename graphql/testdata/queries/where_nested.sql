-- cost 1846

-- strongRef
select t1."rating"::text
from (select * from (select * from records."com_myrecipes_review" t1 where (not t1.hidden) and (t1."subject_uri" = $1::text)
order by t1.sort_at desc fetch first 51 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 51) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.subject.uri.eq (value text)

-- noStrongRef
select t2.rkey
from (select * from (select * from records."com_myrecipes_recipe" t2 where (not t2.hidden) and (jsonb_typeof((t2.record -> 'basedOn')) is distinct from 'object')
order by t2.sort_at desc fetch first 51 rows with ties) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc limit 51) t2
order by t2.sort_at desc, t2.rkey desc, t2.did desc;

-- replies
select t3."text"
from (select * from (select * from records."app_bsky_feed_post" t3 where (not t3.hidden) and ((not (jsonb_typeof((t3.record -> 'reply')) is distinct from 'object')) and (t3."reply_parent_uri" collate "C" ilike $1::text))
order by t3.sort_at desc fetch first 51 rows with ties) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc limit 51) t3
order by t3.sort_at desc, t3.rkey desc, t3.did desc;
-- $1: where.reply.parent.uri.contains (like text)

-- threadStarts
select t4."text"
from (select * from (select * from records."app_bsky_feed_post" t4 where (not t4.hidden) and (jsonb_typeof((t4.record -> 'reply')) is distinct from 'object')
order by t4.sort_at desc fetch first 51 rows with ties) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc limit 51) t4
order by t4.sort_at desc, t4.rkey desc, t4.did desc;

-- tag
select t5."title"
from (select * from (select * from records."com_myrecipes_recipe" t5 where (not t5.hidden) and (t5."tags" @> $1::text[])
order by t5.sort_at desc fetch first 51 rows with ties) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc limit 51) t5
order by t5.sort_at desc, t5.rkey desc, t5.did desc;
-- $1: where.tags.has (list text[])

-- anyTag
select t6."title"
from (select * from (select * from records."com_myrecipes_recipe" t6 where (not t6.hidden) and (t6."tags" && $1::text[])
order by t6.sort_at desc fetch first 51 rows with ties) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc limit 51) t6
order by t6.sort_at desc, t6.rkey desc, t6.did desc;
-- $1: where.tags.hasAny (list text[])

-- allTags
select t7."title"
from (select * from (select * from records."com_myrecipes_recipe" t7 where (not t7.hidden) and (t7."tags" @> $1::text[])
order by t7.sort_at desc fetch first 51 rows with ties) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc limit 51) t7
order by t7.sort_at desc, t7.rkey desc, t7.did desc;
-- $1: where.tags.hasAll (list text[])

-- noTags
select t8."title"
from (select * from (select * from records."com_myrecipes_recipe" t8 where (not t8.hidden) and (cardinality(t8."tags") = 0)
order by t8.sort_at desc fetch first 51 rows with ties) t8
order by t8.sort_at desc, t8.rkey desc, t8.did desc limit 51) t8
order by t8.sort_at desc, t8.rkey desc, t8.did desc;

-- tagsUnknown
select t9."title"
from (select * from (select * from records."com_myrecipes_recipe" t9 where (not t9.hidden) and (cardinality(t9."tags") is null)
order by t9.sort_at desc fetch first 51 rows with ties) t9
order by t9.sort_at desc, t9.rkey desc, t9.did desc limit 51) t9
order by t9.sort_at desc, t9.rkey desc, t9.did desc;

-- image
select t10."title"
from (select * from (select * from records."com_myrecipes_recipe" t10 where (not t10.hidden) and ((case when jsonb_typeof((t10.record -> 'image') -> 'mimeType') = 'string' then ((t10.record -> 'image') -> 'mimeType') #>> '{}' end collate "C") collate "C" ^@ $1::text)
order by t10.sort_at desc fetch first 51 rows with ties) t10
order by t10.sort_at desc, t10.rkey desc, t10.did desc limit 51) t10
order by t10.sort_at desc, t10.rkey desc, t10.did desc;
-- $1: where.image.mimeType.startsWith (value text)

-- noImage, beside the rows
select ((select count(*) from records."com_myrecipes_recipe" c12 where (not c12.hidden) and (jsonb_typeof(c12.record -> 'image') is distinct from 'object')))::text;

-- embed
select t13."text"
from (select * from (select * from records."app_bsky_feed_post" t13 where (not t13.hidden) and ((case when jsonb_typeof((t13.record -> 'embed') -> '$type') = 'string' then ((t13.record -> 'embed') -> '$type') #>> '{}' end collate "C") = any($1::text[]))
order by t13.sort_at desc fetch first 51 rows with ties) t13
order by t13.sort_at desc, t13.rkey desc, t13.did desc limit 51) t13
order by t13.sort_at desc, t13.rkey desc, t13.did desc;
-- $1: where.embed.type.in (list text[])

-- noEmbed
select t14."text"
from (select * from (select * from records."app_bsky_feed_post" t14 where (not t14.hidden) and (jsonb_typeof(t14.record -> 'embed') is distinct from 'object')
order by t14.sort_at desc fetch first 51 rows with ties) t14
order by t14.sort_at desc, t14.rkey desc, t14.did desc limit 51) t14
order by t14.sort_at desc, t14.rkey desc, t14.did desc;

-- labelled
select t15."text"
from (select * from (select * from records."app_bsky_feed_post" t15 where (not t15.hidden) and (not (jsonb_typeof(t15.record -> 'labels') is distinct from 'object'))
order by t15.sort_at desc fetch first 51 rows with ties) t15
order by t15.sort_at desc, t15.rkey desc, t15.did desc limit 51) t15
order by t15.sort_at desc, t15.rkey desc, t15.did desc;

-- facetAny
select t16."text"
from (select * from (select * from records."app_bsky_feed_post" t16 where (not t16.hidden) and (exists (select from jsonb_array_elements(case when jsonb_typeof(t16.record -> 'facets') = 'array' then t16.record -> 'facets' end) e17(v) where (case when jsonb_typeof(((e17.v) -> 'index') -> 'byteStart') = 'number' and (((e17.v) -> 'index') -> 'byteStart')::numeric % 1 = 0 and abs((((e17.v) -> 'index') -> 'byteStart')::numeric) < 9223372036854775808 then (((e17.v) -> 'index') -> 'byteStart')::bigint end) >= $1::bigint))
order by t16.sort_at desc fetch first 51 rows with ties) t16
order by t16.sort_at desc, t16.rkey desc, t16.did desc limit 51) t16
order by t16.sort_at desc, t16.rkey desc, t16.did desc;
-- $1: where.facets.any.index.byteStart.gte (value bigint)

-- facetFeature
select t18."text"
from (select * from (select * from records."app_bsky_feed_post" t18 where (not t18.hidden) and (exists (select from jsonb_array_elements(case when jsonb_typeof(t18.record -> 'facets') = 'array' then t18.record -> 'facets' end) e19(v) where exists (select from jsonb_array_elements(case when jsonb_typeof((e19.v) -> 'features') = 'array' then (e19.v) -> 'features' end) e20(v) where (case when jsonb_typeof((e20.v) -> '$type') = 'string' then ((e20.v) -> '$type') #>> '{}' end collate "C") = $1::text)))
order by t18.sort_at desc fetch first 51 rows with ties) t18
order by t18.sort_at desc, t18.rkey desc, t18.did desc limit 51) t18
order by t18.sort_at desc, t18.rkey desc, t18.did desc;
-- $1: where.facets.any.features.any.type.eq (value text)

-- item
select t21."name"
from (select * from (select * from records."com_myrecipes_collection" t21 where (not t21.hidden) and (exists (select from jsonb_array_elements(case when jsonb_typeof(t21.record -> 'items') = 'array' then t21.record -> 'items' end) e22(v) where (case when jsonb_typeof((e22.v) -> 'uri') = 'string' then ((e22.v) -> 'uri') #>> '{}' end collate "C") collate "C" ilike $1::text))
order by t21.sort_at desc fetch first 51 rows with ties) t21
order by t21.sort_at desc, t21.rkey desc, t21.did desc limit 51) t21
order by t21.sort_at desc, t21.rkey desc, t21.did desc;
-- $1: where.items.any.uri.contains (like text)

-- noItems
select t23."name"
from (select * from (select * from records."com_myrecipes_collection" t23 where (not t23.hidden) and (jsonb_array_length(case when jsonb_typeof(t23.record -> 'items') = 'array' then t23.record -> 'items' end) = 0)
order by t23.sort_at desc fetch first 51 rows with ties) t23
order by t23.sort_at desc, t23.rkey desc, t23.did desc limit 51) t23
order by t23.sort_at desc, t23.rkey desc, t23.did desc;

-- innerText
select t24.rkey
from (select * from (select * from records."com_example_everything" t24 where (not t24.hidden) and ((case when jsonb_typeof((t24.record -> 'inner') -> 'text') = 'string' then ((t24.record -> 'inner') -> 'text') #>> '{}' end collate "C") collate "C" ilike $1::text)
order by t24.sort_at desc fetch first 51 rows with ties) t24
order by t24.sort_at desc, t24.rkey desc, t24.did desc limit 51) t24
order by t24.sort_at desc, t24.rkey desc, t24.did desc;
-- $1: where.inner.text.contains (like text)

-- innerLong
select t25.rkey
from (select * from (select * from records."com_example_everything" t25 where (not t25.hidden) and ((case when jsonb_typeof((t25.record -> 'inner') -> 'n') = 'number' and ((t25.record -> 'inner') -> 'n')::numeric % 1 = 0 and abs(((t25.record -> 'inner') -> 'n')::numeric) < 9223372036854775808 then ((t25.record -> 'inner') -> 'n')::bigint end) > $1::bigint)
order by t25.sort_at desc fetch first 51 rows with ties) t25
order by t25.sort_at desc, t25.rkey desc, t25.did desc limit 51) t25
order by t25.sort_at desc, t25.rkey desc, t25.did desc;
-- $1: where.inner.n.gt (value bigint)

-- innerBoolean
select t26.rkey
from (select * from (select * from records."com_example_everything" t26 where (not t26.hidden) and ((case when jsonb_typeof((t26.record -> 'inner') -> 'flag') = 'boolean' then ((t26.record -> 'inner') -> 'flag')::boolean end) = $1::boolean)
order by t26.sort_at desc fetch first 51 rows with ties) t26
order by t26.sort_at desc, t26.rkey desc, t26.did desc limit 51) t26
order by t26.sort_at desc, t26.rkey desc, t26.did desc;
-- $1: where.inner.flag.eq (value boolean)

-- innerTime
select t27.rkey
from (select * from (select * from records."com_example_everything" t27 where (not t27.hidden) and (((case when jsonb_typeof((t27.record -> 'inner') -> 'at') = 'string' and ((t27.record -> 'inner') -> 'at') #>> '{}' ~ E'^(?!0000)(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,20})?(Z|[+-](0\\d|1[0-4]):[0-5]\\d)$' then date_trunc('microseconds', (((t27.record -> 'inner') -> 'at') #>> '{}')::timestamptz) end) >= $1::timestamptz) and ((case when jsonb_typeof((t27.record -> 'inner') -> 'at') = 'string' and ((t27.record -> 'inner') -> 'at') #>> '{}' ~ E'^(?!0000)(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,20})?(Z|[+-](0\\d|1[0-4]):[0-5]\\d)$' then date_trunc('microseconds', (((t27.record -> 'inner') -> 'at') #>> '{}')::timestamptz) end) < $2::timestamptz))
order by t27.sort_at desc fetch first 51 rows with ties) t27
order by t27.sort_at desc, t27.rkey desc, t27.did desc limit 51) t27
order by t27.sort_at desc, t27.rkey desc, t27.did desc;
-- $1: where.inner.at.gte (value timestamptz)
-- $2: where.inner.at.lt (value timestamptz)

-- innerNoTime
select t28.rkey
from (select * from (select * from records."com_example_everything" t28 where (not t28.hidden) and ((case when jsonb_typeof((t28.record -> 'inner') -> 'at') = 'string' and ((t28.record -> 'inner') -> 'at') #>> '{}' ~ E'^(?!0000)(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,20})?(Z|[+-](0\\d|1[0-4]):[0-5]\\d)$' then date_trunc('microseconds', (((t28.record -> 'inner') -> 'at') #>> '{}')::timestamptz) end) is null)
order by t28.sort_at desc fetch first 51 rows with ties) t28
order by t28.sort_at desc, t28.rkey desc, t28.did desc limit 51) t28
order by t28.sort_at desc, t28.rkey desc, t28.did desc;

-- innerWords
select t29.rkey
from (select * from (select * from records."com_example_everything" t29 where (not t29.hidden) and ((case when jsonb_typeof((t29.record -> 'inner') -> 'words') = 'array' then array(select case when jsonb_typeof(e30.v) = 'string' then (e30.v) #>> '{}' end collate "C" from jsonb_array_elements(case when jsonb_typeof((t29.record -> 'inner') -> 'words') = 'array' then (t29.record -> 'inner') -> 'words' end) e30(v)) end) @> $1::text[])
order by t29.sort_at desc fetch first 51 rows with ties) t29
order by t29.sort_at desc, t29.rkey desc, t29.did desc limit 51) t29
order by t29.sort_at desc, t29.rkey desc, t29.did desc;
-- $1: where.inner.words.has (list text[])

-- innerNumbers
select t31.rkey
from (select * from (select * from records."com_example_everything" t31 where (not t31.hidden) and ((case when jsonb_typeof((t31.record -> 'inner') -> 'numbers') = 'array' then array(select case when jsonb_typeof(e32.v) = 'number' and (e32.v)::numeric % 1 = 0 and abs((e32.v)::numeric) < 9223372036854775808 then (e32.v)::bigint end from jsonb_array_elements(case when jsonb_typeof((t31.record -> 'inner') -> 'numbers') = 'array' then (t31.record -> 'inner') -> 'numbers' end) e32(v)) end) @> $1::bigint[])
order by t31.sort_at desc fetch first 51 rows with ties) t31
order by t31.sort_at desc, t31.rkey desc, t31.did desc limit 51) t31
order by t31.sort_at desc, t31.rkey desc, t31.did desc;
-- $1: where.inner.numbers.hasAll (list bigint[])

-- innerMoments
select t33.rkey
from (select * from (select * from records."com_example_everything" t33 where (not t33.hidden) and ((case when jsonb_typeof((t33.record -> 'inner') -> 'moments') = 'array' then array(select case when jsonb_typeof(e34.v) = 'string' and (e34.v) #>> '{}' ~ E'^(?!0000)(\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))|(\\d\\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)T([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,20})?(Z|[+-](0\\d|1[0-4]):[0-5]\\d)$' then date_trunc('microseconds', ((e34.v) #>> '{}')::timestamptz) end from jsonb_array_elements(case when jsonb_typeof((t33.record -> 'inner') -> 'moments') = 'array' then (t33.record -> 'inner') -> 'moments' end) e34(v)) end) @> $1::timestamptz[])
order by t33.sort_at desc fetch first 51 rows with ties) t33
order by t33.sort_at desc, t33.rkey desc, t33.did desc limit 51) t33
order by t33.sort_at desc, t33.rkey desc, t33.did desc;
-- $1: where.inner.moments.has (list timestamptz[])

-- innerBytes
select t35.rkey
from (select * from (select * from records."com_example_everything" t35 where (not t35.hidden) and ((case when jsonb_typeof(((t35.record -> 'inner') -> 'bytes') -> '$bytes') = 'string' then (((t35.record -> 'inner') -> 'bytes') -> '$bytes') #>> '{}' end collate "C") = $1::text)
order by t35.sort_at desc fetch first 51 rows with ties) t35
order by t35.sort_at desc, t35.rkey desc, t35.did desc limit 51) t35
order by t35.sort_at desc, t35.rkey desc, t35.did desc;
-- $1: where.inner.bytes.eq (value text)

-- innerIsNullProperty
select t36.rkey
from (select * from (select * from records."com_example_everything" t36 where (not t36.hidden) and ((not (jsonb_typeof((t36.record -> 'inner')) is distinct from 'object')) and ((case when jsonb_typeof((t36.record -> 'inner') -> 'isNull') = 'string' then ((t36.record -> 'inner') -> 'isNull') #>> '{}' end collate "C") = $1::text))
order by t36.sort_at desc fetch first 51 rows with ties) t36
order by t36.sort_at desc, t36.rkey desc, t36.did desc limit 51) t36
order by t36.sort_at desc, t36.rkey desc, t36.did desc;
-- $1: where.inner.isNull_.eq (value text)

-- deeper
select t37.rkey
from (select * from (select * from records."com_example_everything" t37 where (not t37.hidden) and (t37."inner_deeper_ref_uri" collate "C" ^@ $1::text)
order by t37.sort_at desc fetch first 51 rows with ties) t37
order by t37.sort_at desc, t37.rkey desc, t37.did desc limit 51) t37
order by t37.sort_at desc, t37.rkey desc, t37.did desc;
-- $1: where.inner.deeper.ref.uri.startsWith (value text)

-- inners
select t38.rkey
from (select * from (select * from records."com_example_everything" t38 where (not t38.hidden) and (exists (select from jsonb_array_elements(case when jsonb_typeof(t38.record -> 'inners') = 'array' then t38.record -> 'inners' end) e39(v) where ((case when jsonb_typeof((e39.v) -> 'n') = 'number' and ((e39.v) -> 'n')::numeric % 1 = 0 and abs(((e39.v) -> 'n')::numeric) < 9223372036854775808 then ((e39.v) -> 'n')::bigint end) = $1::bigint) and ((case when jsonb_typeof((e39.v) -> 'text') = 'string' then ((e39.v) -> 'text') #>> '{}' end collate "C") = $2::text)))
order by t38.sort_at desc fetch first 51 rows with ties) t38
order by t38.sort_at desc, t38.rkey desc, t38.did desc limit 51) t38
order by t38.sort_at desc, t38.rkey desc, t38.did desc;
-- $1: where.inners.any.n.eq (value bigint)
-- $2: where.inners.any.text.eq (value text)

-- innersSplit
select t40.rkey
from (select * from (select * from records."com_example_everything" t40 where (not t40.hidden) and (exists (select from jsonb_array_elements(case when jsonb_typeof(t40.record -> 'inners') = 'array' then t40.record -> 'inners' end) e41(v) where ((case when jsonb_typeof((e41.v) -> 'n') = 'number' and ((e41.v) -> 'n')::numeric % 1 = 0 and abs(((e41.v) -> 'n')::numeric) < 9223372036854775808 then ((e41.v) -> 'n')::bigint end) = $1::bigint) and ((case when jsonb_typeof((e41.v) -> 'text') = 'string' then ((e41.v) -> 'text') #>> '{}' end collate "C") = $2::text)))
order by t40.sort_at desc fetch first 51 rows with ties) t40
order by t40.sort_at desc, t40.rkey desc, t40.did desc limit 51) t40
order by t40.sort_at desc, t40.rkey desc, t40.did desc;
-- $1: where.inners.any.n.eq (value bigint)
-- $2: where.inners.any.text.eq (value text)

-- opens
select t42.rkey
from (select * from (select * from records."com_example_everything" t42 where (not t42.hidden) and (exists (select from jsonb_array_elements(case when jsonb_typeof(t42.record -> 'opens') = 'array' then t42.record -> 'opens' end) e43(v) where (case when jsonb_typeof((e43.v) -> '$type') = 'string' then ((e43.v) -> '$type') #>> '{}' end collate "C") collate "C" ^@ $1::text))
order by t42.sort_at desc fetch first 51 rows with ties) t42
order by t42.sort_at desc, t42.rkey desc, t42.did desc limit 51) t42
order by t42.sort_at desc, t42.rkey desc, t42.did desc;
-- $1: where.opens.any.type.startsWith (value text)

-- files
select t44.rkey
from (select * from (select * from records."com_example_everything" t44 where (not t44.hidden) and (exists (select from jsonb_array_elements(case when jsonb_typeof(t44.record -> 'files') = 'array' then t44.record -> 'files' end) e45(v) where (case when jsonb_typeof((e45.v) -> 'mimeType') = 'string' then ((e45.v) -> 'mimeType') #>> '{}' end collate "C") = $1::text))
order by t44.sort_at desc fetch first 51 rows with ties) t44
order by t44.sort_at desc, t44.rkey desc, t44.did desc limit 51) t44
order by t44.sort_at desc, t44.rkey desc, t44.did desc;
-- $1: where.files.any.mimeType.eq (value text)

-- anything
select t46.rkey
from (select * from (select * from records."com_example_everything" t46 where (not t46.hidden) and (not (coalesce(jsonb_typeof(t46.record -> 'anything'), 'null') = 'null'))
order by t46.sort_at desc fetch first 51 rows with ties) t46
order by t46.sort_at desc, t46.rkey desc, t46.did desc limit 51) t46
order by t46.sort_at desc, t46.rkey desc, t46.did desc;

-- flags
select t47.rkey
from (select * from (select * from records."com_example_everything" t47 where (not t47.hidden) and (t47."flags" @> $1::boolean[])
order by t47.sort_at desc fetch first 51 rows with ties) t47
order by t47.sort_at desc, t47.rkey desc, t47.did desc limit 51) t47
order by t47.sort_at desc, t47.rkey desc, t47.did desc;
-- $1: where.flags_.has (list boolean[])

-- moments
select t48.rkey
from (select * from (select * from records."com_example_everything" t48 where (not t48.hidden) and (t48."moments" && $1::timestamptz[])
order by t48.sort_at desc fetch first 51 rows with ties) t48
order by t48.sort_at desc, t48.rkey desc, t48.did desc limit 51) t48
order by t48.sort_at desc, t48.rkey desc, t48.did desc;
-- $1: where.moments.hasAny (list timestamptz[])

-- recursive
select t49."title"
from (select * from (select * from records."com_example_outline" t49 where (not t49.hidden) and (exists (select from jsonb_array_elements(case when jsonb_typeof(t49.record -> 'items') = 'array' then t49.record -> 'items' end) e50(v) where exists (select from jsonb_array_elements(case when jsonb_typeof((e50.v) -> 'children') = 'array' then (e50.v) -> 'children' end) e51(v) where exists (select from jsonb_array_elements(case when jsonb_typeof((e51.v) -> 'children') = 'array' then (e51.v) -> 'children' end) e52(v) where (case when jsonb_typeof((e52.v) -> 'text') = 'string' then ((e52.v) -> 'text') #>> '{}' end collate "C") = $1::text))))
order by t49.sort_at desc fetch first 51 rows with ties) t49
order by t49.sort_at desc, t49.rkey desc, t49.did desc limit 51) t49
order by t49.sort_at desc, t49.rkey desc, t49.did desc;
-- $1: where.items.any.children.any.children.any.text.eq (value text)
