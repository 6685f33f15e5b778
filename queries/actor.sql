-- name: ActorsByDID :many
select did, handle, status, account_at, account_seq, identity_at, identity_seq, purged_rev
from atview.actor
where did = any(@dids::text[]);

-- name: PutActors :exec
insert into atview.actor (did, handle, status, account_at, account_seq, identity_at, identity_seq, purged_rev)
select did, nullif(handle, ''), status, account_at, account_seq, identity_at, identity_seq, nullif(purged_rev, '')
from (select unnest(@dids::text[]) as did,
             unnest(@handles::text[]) as handle,
             unnest(@statuses::text[]) as status,
             unnest(@account_ats::timestamptz[]) as account_at,
             unnest(@account_seqs::bigint[]) as account_seq,
             unnest(@identity_ats::timestamptz[]) as identity_at,
             unnest(@identity_seqs::bigint[]) as identity_seq,
             unnest(@purged_revs::text[]) as purged_rev) rows
on conflict (did) do update
set handle = excluded.handle, status = excluded.status,
    account_at = excluded.account_at, account_seq = excluded.account_seq,
    identity_at = excluded.identity_at, identity_seq = excluded.identity_seq,
    purged_rev = excluded.purged_rev;

-- name: PutResyncs :exec
insert into atview.resync (did, rev, requested_at)
select unnest(@dids::text[]), unnest(@revs::text[]), unnest(@requested_ats::timestamptz[])
on conflict (did) do update
set rev = greatest(resync.rev, excluded.rev), requested_at = greatest(resync.requested_at, excluded.requested_at);
