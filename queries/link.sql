-- name: LinksOf :many
select l.target, l.collection, l.path, l.did, l.rkey
from (select unnest(@collections::text[]) as collection,
             unnest(@rkeys::text[]) as rkey,
             unnest(@dids::text[]) as did) k
join atview.link l using (rkey, did, collection);

-- name: DropLinks :exec
delete from atview.link l
using (select unnest(@collections::text[]) as collection,
              unnest(@rkeys::text[]) as rkey,
              unnest(@dids::text[]) as did) k
where (l.rkey, l.did, l.collection) = (k.rkey, k.did, k.collection);

-- name: PutLinks :exec
insert into atview.link (target, collection, path, did, rkey, sort_at, hidden)
select unnest(@targets::text[]), unnest(@collections::text[]), unnest(@paths::text[]), unnest(@dids::text[]),
       unnest(@rkeys::text[]), unnest(@sort_ats::timestamptz[]), unnest(@hiddens::boolean[]);

-- How many visible records of each account link to each target, counted up to a
-- bound: more than are about to go is all that matters.
-- name: LinkersOf :many
select k.i::bigint as i, (select count(*) from (
    select from atview.link l
    where l.target = k.target and l.did = k.did and l.collection = k.collection and l.path = k.path and not l.hidden
    limit @bound::bigint) x)::bigint as records
from (select generate_subscripts(@targets::text[], 1) as i,
             unnest(@targets::text[]) as target,
             unnest(@collections::text[]) as collection,
             unnest(@paths::text[]) as path,
             unnest(@dids::text[]) as did) k;

-- name: HideLinks :exec
update atview.link set hidden = @hidden where did = any(@dids::text[]) and hidden <> @hidden;

-- What accounts' visible (or hidden) links add up to.
-- name: LinkSums :many
select target, collection, path, did, count(*)::bigint as records
from atview.link
where did = any(@dids::text[]) and hidden = @hidden
group by target, collection, path, did;

-- name: AddLinkCounts :exec
insert into atview.link_count as c (target, collection, path, records, dids)
select unnest(@targets::text[]), unnest(@collections::text[]), unnest(@paths::text[]),
       unnest(@records::bigint[]), unnest(@dids::bigint[])
on conflict (target, collection, path) do update
set records = c.records + excluded.records, dids = c.dids + excluded.dids;

-- Makes and locks the rows that are about to change, in the order that they are
-- given. Every worker gives them in one order, so that no two wait for each other.
-- name: TouchLinkCounts :exec
insert into atview.link_count as c (target, collection, path, records, dids)
select unnest(@targets::text[]), unnest(@collections::text[]), unnest(@paths::text[]), 0, 0
on conflict (target, collection, path) do update set records = c.records;

-- name: ChangeLinkCounts :execrows
update atview.link_count c
set records = c.records + k.records, dids = c.dids + k.dids
from (select unnest(@targets::text[]) as target, unnest(@collections::text[]) as collection,
             unnest(@paths::text[]) as path, unnest(@records::bigint[]) as records,
             unnest(@dids::bigint[]) as dids) k
where (c.target, c.collection, c.path) = (k.target, k.collection, k.path);

-- name: DropEmptyLinkCounts :exec
delete from atview.link_count c
using (select unnest(@targets::text[]) as target, unnest(@collections::text[]) as collection,
              unnest(@paths::text[]) as path) k
where (c.target, c.collection, c.path) = (k.target, k.collection, k.path) and c.records = 0;
