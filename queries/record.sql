-- name: Tombstones :many
select t.collection, t.rkey, t.did, t.rev
from (select unnest(@collections::text[]) as collection,
             unnest(@rkeys::text[]) as rkey,
             unnest(@dids::text[]) as did) k
join atview.tombstone t using (rkey, did, collection);

-- name: PutTombstones :exec
insert into atview.tombstone (collection, rkey, did, rev)
select unnest(@collections::text[]), unnest(@rkeys::text[]), unnest(@dids::text[]), unnest(@revs::text[])
on conflict (rkey, did, collection) do update
set rev = excluded.rev
where tombstone.rev < excluded.rev;

-- name: DropTombstones :exec
delete from atview.tombstone t
using (select unnest(@collections::text[]) as collection,
              unnest(@rkeys::text[]) as rkey,
              unnest(@dids::text[]) as did) k
where (t.rkey, t.did, t.collection) = (k.rkey, k.did, k.collection);

-- name: DropTombstonesOf :exec
delete from atview.tombstone t
using (select unnest(@dids::text[]) as did, unnest(@revs::text[]) as rev) k
where t.did = k.did and t.rev <= k.rev;

-- name: DropTombstonesUpTo :exec
delete from atview.tombstone t
using (select unnest(@dids::text[]) as did, unnest(@revs::text[]) as rev) k
where t.did = k.did and t.rev <= k.rev and t.collection = any(@collections::text[]);

-- name: DropFlags :exec
delete from atview.flag f
using (select unnest(@collections::text[]) as collection,
              unnest(@rkeys::text[]) as rkey,
              unnest(@dids::text[]) as did) k
where (f.rkey, f.did, f.collection) = (k.rkey, k.did, k.collection);

-- name: PutFlags :exec
insert into atview.flag (collection, rkey, did, ordinal, path, reason)
select unnest(@collections::text[]), unnest(@rkeys::text[]), unnest(@dids::text[]),
       unnest(@ordinals::smallint[]), unnest(@paths::text[]), unnest(@reasons::text[]);

-- name: FlagsByReason :many
select collection, rkey, did, path, reason
from atview.flag
where collection = @collection and rkey = any(@rkeys::text[]) and reason = any(@reasons::text[])
order by ordinal;

-- name: PutDeadLetters :exec
insert into atview.dead_letter (digest, at, source, reason, bytes, full_size)
select unnest(@digests::bytea[]), unnest(@ats::timestamptz[]), unnest(@sources::text[]),
       unnest(@reasons::text[]), unnest(@bytes::bytea[]), unnest(@full_sizes::bigint[])
on conflict (digest) do nothing;
