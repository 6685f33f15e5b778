-- name: ActorsByDID :many
select did, status, account_at, account_seq, identity_at, identity_seq, purged_rev, synced_rev, synced_of, read_rev,
       (resolve_at is not null or resolved_at is not null)::boolean as followed,
       exists (select from atview.repo r where r.did = actor.did)::boolean as asked
from atview.actor
where did = any(@dids::text[]);

-- A handle is written only when an event has told one, and a DID document is due
-- only when an event says so: both belong to whoever resolves identities.
-- name: PutActors :exec
insert into atview.actor (did, handle, status, account_at, account_seq, identity_at, identity_seq, purged_rev,
                          synced_rev, synced_of, read_rev, resolve_at)
select did, nullif(handle, ''), status, account_at, account_seq, identity_at, identity_seq, nullif(purged_rev, ''),
       nullif(synced_rev, ''), nullif(synced_of, ''), nullif(read_rev, ''), case when resolve then now() end
from (select unnest(@dids::text[]) as did,
             unnest(@handles::text[]) as handle,
             unnest(@statuses::text[]) as status,
             unnest(@account_ats::timestamptz[]) as account_at,
             unnest(@account_seqs::bigint[]) as account_seq,
             unnest(@identity_ats::timestamptz[]) as identity_at,
             unnest(@identity_seqs::bigint[]) as identity_seq,
             unnest(@purged_revs::text[]) as purged_rev,
             unnest(@synced_revs::text[]) as synced_rev,
             unnest(@synced_ofs::text[]) as synced_of,
             unnest(@read_revs::text[]) as read_rev,
             unnest(@resolves::boolean[]) as resolve) rows
on conflict (did) do update
set handle = coalesce(excluded.handle, actor.handle), status = excluded.status,
    account_at = excluded.account_at, account_seq = excluded.account_seq,
    identity_at = excluded.identity_at, identity_seq = excluded.identity_seq,
    purged_rev = excluded.purged_rev, synced_rev = excluded.synced_rev, synced_of = excluded.synced_of,
    read_rev = excluded.read_rev,
    resolve_at = coalesce(excluded.resolve_at, actor.resolve_at);
