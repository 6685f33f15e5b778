-- How many rows there are of each collection beside its table.
-- name: CountLinks :many
select collection, count(*)::bigint as rows from atview.link group by collection;

-- name: CountFlags :many
select collection, count(*)::bigint as rows from atview.flag group by collection;

-- name: CountTombstones :many
select collection, count(*)::bigint as rows from atview.tombstone group by collection;

-- name: CountLinkCounts :many
select collection, count(*)::bigint as rows from atview.link_count group by collection;

-- What stands about records of a collection that has no table.
-- name: DropLinksOfCollection :execrows
delete from atview.link where collection = @collection;

-- name: DropFlagsOfCollection :execrows
delete from atview.flag where collection = @collection;

-- name: DropLinkCountsOfCollection :execrows
delete from atview.link_count where collection = @collection;

-- name: PurgedRev :one
select coalesce(purged_rev, '')::text as rev from atview.actor where did = @did;

-- name: TombstonesOf :many
select collection, rkey, rev from atview.tombstone where did = @did;
