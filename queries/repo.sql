-- Asks for repositories to be read whole. One that was read at wanted_rev or later
-- stays as it is; of one that is under way, what is under way does not count.
-- name: QueueRepos :exec
insert into atview.repo as r (did, why, wanted_rev)
select k.did, @why::text, k.wanted_rev
from (select unnest(@dids::text[]) as did, unnest(@wanted_revs::text[]) as wanted_rev) k
order by k.did
on conflict (did) do update
set state = 'queued', wanted_rev = greatest(r.wanted_rev, excluded.wanted_rev), requested_at = now(), due_at = now(),
    claimed_until = null, attempts = 0, reason = null, updated_at = now()
where not (r.state in ('done', 'published') and excluded.wanted_rev <> '' and coalesce(r.rev, '') >= excluded.wanted_rev);

-- Asks for repositories that nobody has asked for yet.
-- name: QueueNewRepos :execrows
insert into atview.repo (did, why)
select unnest(@dids::text[]), unnest(@whys::text[])
on conflict (did) do nothing;

-- Notes that the tables hold repositories as of a rev. A mark settles the claim that
-- made it and no other: what was asked for since is another claim's. Rows are locked
-- in one order, as QueueRepos does.
-- name: FinishRepos :exec
with k as (
    select unnest(@dids::text[]) as did, unnest(@revs::text[]) as rev, unnest(@coverages::text[]) as coverage, unnest(@claims::bigint[]) as claim
), held as (
    select r.did from atview.repo r where r.did = any(@dids::text[]) order by r.did for update
)
update atview.repo r
set state = 'done', rev = k.rev, coverage = k.coverage, claimed_until = null, attempts = 0, reason = null, updated_at = now()
from k join held on held.did = k.did
where r.did = k.did and r.claim = k.claim and r.state in ('fetching', 'published', 'done');

-- Notes that an account was deleted. What is being fetched finds out by itself.
-- name: LeaveRepo :exec
update atview.repo
set state = 'gone', reason = 'deleted: the account was', claimed_until = null, updated_at = @at
where did = @did and state in ('done', 'published', 'queued', 'failed');

-- name: PutCoverage :exec
insert into atview.coverage (digest, collections) values (@digest, @collections::text[])
on conflict (digest) do nothing;

-- name: Coverages :many
select digest, collections from atview.coverage where digest = any(@digests::text[]);

-- name: RepoStates :many
select did, state, coalesce(reason, '')::text as reason from atview.repo where did = any(@dids::text[]) order by did;

-- Accounts with records here, in order, or some by chance. Of those that are not
-- active there is no repository to be had.
-- name: FollowedActors :many
select did from atview.actor
where did > @after and status = 'active' and (resolve_at is not null or resolved_at is not null or synced_rev is not null)
order by did limit @most::bigint;

-- name: SomeFollowedActors :many
select did from atview.actor
where status = 'active' and (resolve_at is not null or resolved_at is not null or synced_rev is not null)
order by random() limit @most::bigint;
