-- +goose Up
-- Why: repositories are read whole (backfill, reconciliation), and identities are
-- resolved. Locks: atview.actor and atview.position for a moment; new columns are
-- null or have a constant default, so no row is rewritten.

-- A partition has a position in each lane of the log: live, and backfill, whose
-- events must not hold up the live ones.
alter table atview.position add column lane text not null default 'live';
alter table atview.position drop constraint position_pkey;
alter table atview.position add primary key (lane, partition);

alter table atview.actor
    -- What the DID document says, as read last.
    add column pds          text, -- base URL, without a slash at the end
    add column signing_key  text, -- did:key
    add column resolved_at  timestamptz,
    -- When the document is to be read (again); null: not before it is asked for.
    add column resolve_at   timestamptz,
    add column resolve_attempts integer not null default 0,
    add column resolve_error text,
    -- The repository was read whole at this rev: of the collections of the
    -- coverage, every commit up to it is settled.
    add column synced_rev   text collate "C",
    add column synced_of    text collate "C",
    -- A part of it, at least, was read at this rev.
    add column read_rev     text collate "C";
create index actor_resolve_idx on atview.actor (resolve_at) where resolve_at is not null;

-- Which collections a repository was read for. The digest is the collections', so
-- that it cannot come to mean others.
create table atview.coverage (
    digest      text collate "C" primary key,
    collections text[] not null
);

-- Repositories that are to be read whole, and how that went.
create table atview.repo (
    did          text collate "C" primary key,
    -- queued     to be fetched when due
    -- fetching   claimed by a process, until claimed_until
    -- published  on the log; the fold makes it done
    -- done       in the tables
    -- failed     to be tried again when due
    -- gone       the PDS has no such repository, or does not give it out
    state        text not null default 'queued',
    -- What it was queued for first: listed, seen, linked, asked, sync.
    why          text not null,
    -- Reading it at a rev below this does not settle the request.
    wanted_rev   text collate "C" not null default '',
    requested_at timestamptz not null default now(),
    due_at       timestamptz not null default now(),
    claimed_until timestamptz,
    claim        bigint not null default 0, -- counts the claims; who has lost one can tell
    attempts     integer not null default 0,
    reason       text, -- of the last failure
    pds          text, -- where it was fetched last
    rev          text collate "C", -- of the last snapshot, with its coverage and sizes
    coverage     text collate "C",
    records      bigint,
    bytes        bigint,
    updated_at   timestamptz not null default now()
) with (fillfactor = 70);
create index repo_due_idx on atview.repo (due_at) where state in ('queued', 'failed', 'fetching');
-- Those that somebody waits for, and that are not to wait for all that was listed.
create index repo_urgent_idx on atview.repo (due_at)
    where (why <> 'listed' or wanted_rev <> '') and state in ('queued', 'failed', 'fetching');
create index repo_state_idx on atview.repo (state);

-- How far the repositories of a collection have been listed.
create table atview.discovery (
    collection text collate "C" not null,
    host       text not null,
    cursor     text not null default '',
    repos      bigint not null default 0,
    done_at    timestamptz,
    reason     text, -- why listing stopped short
    updated_at timestamptz not null default now(),
    primary key (collection, host)
);

-- Where repositories with records here stood when a firehose was read last, so that
-- a commit that does not follow is noticed over a restart, and up to which number
-- of the host's that holds.
create table atview.head (
    did        text collate "C" primary key,
    rev        text collate "C" not null,
    data       text not null, -- CID of the tree's root
    updated_at timestamptz not null default now()
) with (fillfactor = 70);
create table atview.head_at (
    source text primary key,
    host   text not null,
    seq    bigint not null
);

insert into atview.repo (did, why, wanted_rev, requested_at)
select did, 'sync', rev, requested_at from atview.resync;
drop table atview.resync;

-- +goose Down
create table atview.resync (
    did          text collate "C" primary key,
    rev          text collate "C" not null,
    requested_at timestamptz not null
);
insert into atview.resync select did, wanted_rev, requested_at from atview.repo where why = 'sync' and state <> 'done';
drop table atview.head_at;
drop table atview.head;
drop table atview.discovery;
drop table atview.repo;
drop table atview.coverage;
alter table atview.actor drop column pds, drop column signing_key, drop column resolved_at, drop column resolve_at,
    drop column resolve_attempts, drop column resolve_error, drop column synced_rev, drop column synced_of, drop column read_rev;
delete from atview.position where lane <> 'live';
alter table atview.position drop constraint position_pkey;
alter table atview.position drop column lane;
alter table atview.position add primary key (partition);
