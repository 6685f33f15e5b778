-- cost 70603

-- hour
select g.v1,
  count(*)::text
from (select to_char((t1."taken_at") at time zone 'UTC', 'YYYY-MM-DD"T"HH24:00') collate "C" as v1
from records."com_example_reading" t1
where not t1.hidden) g
group by g.v1
order by g.v1
limit 100;

-- day
select g.v1,
  count(*)::text
from (select to_char((t2."taken_at") at time zone 'UTC', 'YYYY-MM-DD') collate "C" as v1
from records."com_example_reading" t2
where not t2.hidden) g
group by g.v1
order by g.v1
limit 100;

-- week
select g.v1,
  count(*)::text
from (select to_char((t3."taken_at") at time zone 'UTC', 'IYYY-"W"IW') collate "C" as v1
from records."com_example_reading" t3
where not t3.hidden) g
group by g.v1
order by g.v1
limit 100;

-- month
select g.v1,
  count(*)::text
from (select to_char((t4."taken_at") at time zone 'UTC', 'YYYY-MM') collate "C" as v1
from records."com_example_reading" t4
where not t4.hidden) g
group by g.v1
order by g.v1
limit 100;

-- quarter
select g.v1,
  count(*)::text
from (select to_char((t5."taken_at") at time zone 'UTC', 'YYYY-"Q"Q') collate "C" as v1
from records."com_example_reading" t5
where not t5.hidden) g
group by g.v1
order by g.v1
limit 100;

-- year
select g.v1,
  count(*)::text
from (select to_char((t6."taken_at") at time zone 'UTC', 'YYYY') collate "C" as v1
from records."com_example_reading" t6
where not t6.hidden) g
group by g.v1
order by g.v1
limit 100;

-- moment
select g.v1::text,
  count(*)::text
from (select t7."taken_at" as v1
from records."com_example_reading" t7
where not t7.hidden) g
group by g.v1
order by g.v1
limit 3;
