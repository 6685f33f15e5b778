-- cost 70700

-- berlin
select g.v1,
  count(*)::text
from (select to_char((t1."taken_at") at time zone $1::text, 'YYYY-MM-DD"T"HH24:00') collate "C" as v1
from records."com_example_reading" t1
where not t1.hidden) g
group by g.v1
order by g.v1
limit 100;
-- $1: groupBy[0].timeZone (zone text)

-- berlinDays
select g.v1,
  count(*)::text,
  sum(g.v2)::text
from (select to_char((t2."taken_at") at time zone $1::text, 'YYYY-MM-DD') collate "C" as v1, t2."celsius" as v2
from records."com_example_reading" t2
where not t2.hidden) g
group by g.v1
order by g.v1
limit 100;
-- $1: groupBy[0].timeZone (zone text)

-- newYork
select g.v1,
  count(*)::text
from (select to_char((t3."taken_at") at time zone $1::text, 'YYYY-MM-DD"T"HH24:00') collate "C" as v1
from records."com_example_reading" t3
where not t3.hidden) g
group by g.v1
order by g.v1
limit 100;
-- $1: groupBy[0].timeZone (zone text)

-- years
select g.v1,
  count(*)::text
from (select to_char((t4."taken_at") at time zone $1::text, 'YYYY') collate "C" as v1
from records."com_example_reading" t4
where not t4.hidden) g
group by g.v1
order by g.v1
limit 100;
-- $1: groupBy[0].timeZone (zone text)

-- nepal
select g.v1,
  g.v2,
  count(*)::text
from (select to_char((t5."taken_at") at time zone $1::text, 'YYYY-"Q"Q') collate "C" as v1, (t5."station") collate "C" as v2
from records."com_example_reading" t5
where not t5.hidden) g
group by g.v1, g.v2
order by g.v1, g.v2
limit 100;
-- $1: groupBy[0].timeZone (zone text)

-- indexed
select g.v1,
  count(*)::text
from (select to_char((t6.indexed_at) at time zone 'UTC', 'YYYY-MM-DD') collate "C" as v1
from records."com_example_reading" t6
where not t6.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- old
select g.v1,
  count(*)::text
from (select to_char((t7.indexed_at) at time zone 'UTC', 'YYYY-MM') collate "C" as v1
from records."com_example_reading" t7
where not t7.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;
