-- Takes repositories that are due, and those whose claim has run out. Of hosts that
-- are to be left alone none is taken, as far as is known where a repository is.
-- The claim is numbered, so that who has lost one can change nothing by it. What
-- the tables have already as of a later rev is not to be read at an older one.
-- name: ClaimRepos :many
with due as (
    select did from atview.repo
    where state in ('queued', 'failed', 'fetching') and due_at <= now()
      and (pds is null or pds <> all(@busy::text[]))
    order by due_at
    limit @most
    for update skip locked
)
update atview.repo r
set state = 'fetching', claim = r.claim + 1, updated_at = now(),
    claimed_until = now() + make_interval(secs => @lease_seconds), due_at = now() + make_interval(secs => @lease_seconds)
from due left join atview.actor a on a.did = due.did
where r.did = due.did
returning r.did, r.claim, r.attempts, r.wanted_rev, coalesce(greatest(a.synced_rev, a.purged_rev), '')::text as settled_rev;

-- The same for those that somebody waits for: asked for, seen, or declared anew.
-- They must not stand in a queue behind all that a relay has listed.
-- name: ClaimUrgentRepos :many
with due as (
    select did from atview.repo
    where (why <> 'listed' or wanted_rev <> '') and state in ('queued', 'failed', 'fetching') and due_at <= now()
      and (pds is null or pds <> all(@busy::text[]))
    order by due_at
    limit @most
    for update skip locked
)
update atview.repo r
set state = 'fetching', claim = r.claim + 1, updated_at = now(),
    claimed_until = now() + make_interval(secs => @lease_seconds), due_at = now() + make_interval(secs => @lease_seconds)
from due left join atview.actor a on a.did = due.did
where r.did = due.did
returning r.did, r.claim, r.attempts, r.wanted_rev, coalesce(greatest(a.synced_rev, a.purged_rev), '')::text as settled_rev;

-- Extends claims. Here and below, rows are taken that nobody has locked: a
-- statement about many would otherwise wait for the fold, and the fold for it.
-- name: HoldRepos :exec
with held as (
    select r.did from atview.repo r
    join (select unnest(@dids::text[]) as did, unnest(@claims::bigint[]) as claim) k on k.did = r.did and k.claim = r.claim
    where r.state = 'fetching'
    for update of r skip locked
)
update atview.repo r
set claimed_until = now() + make_interval(secs => @lease_seconds), due_at = now() + make_interval(secs => @lease_seconds)
from held
where r.did = held.did;

-- Says which claims are still held. One that the fold has finished already is.
-- name: HeldRepos :many
select r.did from atview.repo r
join (select unnest(@dids::text[]) as did, unnest(@claims::bigint[]) as claim) k on k.did = r.did and k.claim = r.claim
where r.state in ('fetching', 'done');

-- Gives a claim back; the repository is due again after a delay.
-- name: DeferRepo :exec
update atview.repo
set state = 'queued', due_at = now() + make_interval(secs => @delay_seconds), claimed_until = null,
    pds = coalesce(sqlc.narg('pds'), pds), updated_at = now()
where did = @did and claim = @claim and state = 'fetching';

-- name: FailRepo :exec
update atview.repo
set state = 'failed', due_at = now() + make_interval(secs => @delay_seconds), claimed_until = null,
    attempts = attempts + 1, reason = @reason::text, pds = coalesce(sqlc.narg('pds'), pds), updated_at = now()
where did = @did and claim = @claim and state = 'fetching';

-- name: GoneRepo :exec
update atview.repo
set state = 'gone', claimed_until = null, reason = @reason::text, pds = coalesce(sqlc.narg('pds'), pds), updated_at = now()
where did = @did and claim = @claim and state = 'fetching';

-- Notes that a repository is on the log. The fold may have been quicker; but what
-- it has finished may also have been the snapshot before this one. The attempts are
-- counted until it is in the tables.
-- name: PublishRepo :exec
update atview.repo
set state = case when state = 'done' then 'done' else 'published' end,
    claimed_until = null, reason = null, pds = @pds::text,
    rev = @rev::text, coverage = @coverage::text, records = @records::bigint, bytes = @bytes::bigint, updated_at = now()
where did = @did and claim = @claim and state in ('fetching', 'done');

-- Asks again for repositories that were on a log that has lost its end.
-- name: QueuePublished :execrows
with lost as (select did from atview.repo where state = 'published' for update skip locked)
update atview.repo r
set state = 'queued', due_at = now(), updated_at = now()
from lost
where r.did = lost.did;

-- Repositories that have been on the log for a while and are not in the tables.
-- name: PublishedRepos :many
select did, claim from atview.repo
where state = 'published' and did > @after and updated_at < now() - make_interval(secs => @older_seconds)
order by did
limit @most;

-- Asks again for those of them that the fold must have passed. Should it pass them
-- again and again, they are read more and more rarely.
-- name: QueueLostRepos :execrows
with lost as (
    select r.did from atview.repo r
    join (select unnest(@dids::text[]) as did, unnest(@claims::bigint[]) as claim) k on k.did = r.did and k.claim = r.claim
    where r.state = 'published'
    for update of r skip locked
)
update atview.repo r
set state = 'queued', attempts = attempts + 1, updated_at = now(),
    due_at = now() + make_interval(secs => @delay_seconds) * power(2, case when attempts < 10 then attempts else 10 end)
from lost
where r.did = lost.did;

-- name: CoveringDigests :many
select digest from atview.coverage where collections @> @collections::text[];

-- Asks again for repositories that were read for other collections than these, or
-- before the rev that was asked for.
-- name: QueueUncoveredRepos :execrows
with old as (
    select did from atview.repo
    where state in ('done', 'published') and (coalesce(coverage, '') <> all(@digests::text[]) or coalesce(rev, '') < wanted_rev)
    limit @most
    for update skip locked
)
update atview.repo r
set state = 'queued', due_at = now(), attempts = 0, updated_at = now()
from old
where r.did = old.did;

-- Asks again, now, for repositories that could not be read.
-- name: RetryRepos :execrows
with again as (select did from atview.repo where state in ('failed', 'gone') for update skip locked)
update atview.repo r
set state = 'queued', due_at = now(), attempts = 0, updated_at = now()
from again
where r.did = again.did;

-- Asks again for repositories that a PDS withheld, and whose account has come back
-- since; a minute is for clocks that differ, and for answers that were on their way.
-- name: QueueReturnedRepos :execrows
with back as (
    select r.did from atview.repo r
    join atview.actor a on a.did = r.did and a.status = 'active' and a.account_at > r.updated_at
    where r.state = 'gone'
    for update of r skip locked
)
update atview.repo r
set state = 'queued', due_at = now(), attempts = 0, updated_at = now()
from back
where r.did = back.did;

-- name: CountRepos :many
select state, count(*) as repos, coalesce(sum(records), 0)::bigint as records from atview.repo group by state;

-- name: FailedRepos :many
select did, state, reason, attempts, due_at, pds, updated_at from atview.repo
where state in ('failed', 'gone')
order by updated_at desc, did
limit @most;

-- name: Discovery :one
select cursor, repos, done_at, reason from atview.discovery where collection = @collection and host = @host;

-- Notes how far a collection has been listed, unless somebody else has gone on in
-- the meantime.
-- name: MoveDiscovery :execrows
insert into atview.discovery as d (collection, host, cursor, repos, done_at, reason)
values (@collection, @host, @cursor, @repos, case when @done::boolean then now() end, sqlc.narg('reason'))
on conflict (collection, host) do update
set cursor = excluded.cursor, repos = excluded.repos, done_at = excluded.done_at, reason = excluded.reason, updated_at = now()
where d.cursor = @was;
