-- What is remembered of a DID document. The other columns of an actor belong to
-- the fold.
-- name: GetIdentity :one
select handle, pds, signing_key, resolved_at, resolve_at
from atview.actor
where did = @did;

-- Remembers a DID document. Its handle is another question: where it has not been
-- asked yet, or may have changed along with the rest, it is due.
-- name: PutIdentity :exec
insert into atview.actor as a (did, pds, signing_key, resolved_at, resolve_at)
values (@did, sqlc.narg(pds), sqlc.narg(signing_key), @resolved_at, @resolved_at)
on conflict (did) do update
set pds = excluded.pds, signing_key = excluded.signing_key, resolved_at = excluded.resolved_at,
    resolve_at = case
        when a.handle is null or a.resolved_at is null
             or a.pds is distinct from excluded.pds or a.signing_key is distinct from excluded.signing_key
        then coalesce(a.resolve_at, excluded.resolve_at)
        else a.resolve_at
    end
where a.resolved_at is null or a.resolved_at < excluded.resolved_at;

-- Forgets the document of a DID that is no more, if it is remembered.
-- name: ForgetIdentity :exec
update atview.actor
set pds = null, signing_key = null, resolved_at = @resolved_at, resolve_at = coalesce(resolve_at, @resolved_at)
where did = @did and resolved_at < @resolved_at and (pds is not null or signing_key is not null);

-- Takes actors that are due. Whoever takes them has until claimed_until; then they
-- are due again. A row that somebody writes at the moment is left for the next time.
-- name: ClaimIdentities :many
with due as (
    select did, resolve_at
    from atview.actor
    where resolve_at <= now()
    order by resolve_at
    limit @most
    for update skip locked
)
update atview.actor a
set resolve_at = now() + make_interval(secs => @lease_seconds::float8), resolve_attempts = a.resolve_attempts + 1
from due
where a.did = due.did
returning a.did, a.handle, a.resolve_attempts, due.resolve_at as wanted_at, a.resolve_at as claimed_until;

-- Writes what came of a claim. Where resolve_at has been moved meanwhile, an event
-- has asked again, and the actor stays due. A handle of null is left as it is.
-- name: FinishIdentity :exec
update atview.actor
set handle = coalesce(sqlc.narg(handle), handle), pds = sqlc.narg(pds), signing_key = sqlc.narg(signing_key),
    resolved_at = @resolved_at,
    resolve_at = case when resolve_at = @claimed_until then sqlc.narg(next_at) else resolve_at end,
    resolve_attempts = case when resolve_at = @claimed_until and sqlc.narg(next_at)::timestamptz is not null then resolve_attempts else 0 end,
    resolve_error = sqlc.narg(resolve_error)
where did = @did and (resolved_at is null or resolved_at <= @resolved_at);

-- The same where nothing was learned: what is remembered stays.
-- name: PostponeIdentity :exec
update atview.actor
set resolve_at = sqlc.narg(next_at), resolve_error = sqlc.narg(resolve_error)
where did = @did and resolve_at = @claimed_until;

-- Gives a claim back.
-- name: ReleaseIdentity :exec
update atview.actor
set resolve_at = @wanted_at, resolve_attempts = greatest(resolve_attempts - 1, 0)
where did = @did and resolve_at = @claimed_until;

-- A handle leads to one DID only: others that have it are to be looked at again.
-- name: ContestHandle :exec
update atview.actor
set resolve_at = now()
where did in (
    select o.did
    from atview.actor o
    where o.handle = @handle::text and o.did <> @did and o.resolve_at is null
    limit 100
    for update skip locked
);

-- How many actors are due, counted up to a number.
-- name: DueIdentities :one
select count(*) from (select 1 from atview.actor where resolve_at <= now() limit @most) due;
