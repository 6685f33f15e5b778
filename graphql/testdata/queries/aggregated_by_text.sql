-- cost 30203

-- comMyrecipesRecipeAggregated
select g.v1,
  count(*)::text
from (select (t1."cuisine") collate "C" as v1
from records."com_myrecipes_recipe" t1
where not t1.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- xyzStatusphereStatusAggregated
select g.v1,
  count(*)::text
from (select (t2."status") collate "C" as v1
from records."xyz_statusphere_status" t2
where not t2.hidden) g
group by g.v1
order by count(*) desc nulls last, g.v1
limit 100;

-- reviews
select g.v1::text,
  count(*)::text
from (select t3."rating" as v1
from records."com_myrecipes_review" t3
where not t3.hidden) g
group by g.v1
order by count(*), g.v1
limit 3;
