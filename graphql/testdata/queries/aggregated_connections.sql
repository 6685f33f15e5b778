-- cost 30013

-- comExampleReading
select t1."station",
  t1."celsius"::text
from (select * from (select * from records."com_example_reading" t1 where (not t1.hidden) and (t1."indoors" = $1::boolean)
order by t1.sort_at desc fetch first 3 rows with ties) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc limit 3) t1
order by t1.sort_at desc, t1.rkey desc, t1.did desc;
-- $1: where.indoors.eq (value boolean)

-- comExampleReading, beside the rows
select ((select count(*) from records."com_example_reading" c2 where (not c2.hidden) and (c2."indoors" = $1::boolean)))::text,
  (select json_build_array(count(*), count(distinct g.v1), sum(g.v2), avg(g.v2)::float8, min(g.v2), max(g.v3)::text, min(g.v3)::text, min(g.v1)) from (select (c3."station") collate "C" as v1, c3."celsius" as v2, c3."taken_at" as v3
from records."com_example_reading" c3
where (not c3.hidden) and (c3."indoors" = $1::boolean)) g);
-- $1: where.indoors.eq (value boolean)

-- reviews, beside the rows
select (select json_build_array(avg(g.v1)::float8) from (select c5."rating" as v1
from records."com_myrecipes_review" c5
where not c5.hidden) g),
  (select json_build_array(count(*)) from (select 
from records."com_myrecipes_review" c6
where not c6.hidden) g);
