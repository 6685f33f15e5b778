-- +goose Up
-- The fixed tables. Why: everything that is not a collection's own table.
-- Locks: none; the schema is new.

create schema if not exists atview;
create schema if not exists records;

comment on schema atview is 'atview''s own state: positions, actors, links, counts, flags.';
comment on schema records is 'One table per collection, derived from the lexicons. May be dropped and rebuilt.';

-- Which table a collection has, and how its records were read when they were
-- last written. A fingerprint that differs from the lexicon's means that the
-- rows are to be derived anew.
create table atview.collection (
    nsid        text collate "C" primary key,
    table_name  text not null unique,
    fingerprint text not null,
    updated_at  timestamptz not null default now()
);

-- How far each partition of the log is folded into the tables. The row is moved
-- in the transaction that writes what the messages say, so it is the truth, and
-- it is the fence: a second worker that moved from the same position fails here.
create table atview.position (
    partition  integer primary key,
    seq        bigint not null,
    -- When the log stored message `seq`: a log that lost its tail and counts on
    -- has another message, with another time, under the same number.
    message_at timestamptz,
    updated_at timestamptz not null default now()
) with (fillfactor = 50);

create table atview.actor (
    did         text collate "C" primary key,
    handle      text collate "C",
    -- active, deactivated, suspended, takendown, deleted, or what the network
    -- comes up with; all but active hide the actor's records.
    status      text not null default 'active',
    -- The newest account and identity event seen, so that replays change nothing.
    account_at   timestamptz,
    account_seq  bigint,
    identity_at  timestamptz,
    identity_seq bigint,
    -- Commits up to this rev are of an account that has been deleted since.
    purged_rev  text collate "C"
) with (fillfactor = 90);
create index actor_handle_idx on atview.actor (handle) where handle is not null;

-- Deleted records, so that a late create does not bring them back.
create table atview.tombstone (
    collection text collate "C" not null,
    rkey       text collate "C" not null,
    did        text collate "C" not null,
    rev        text collate "C" not null,
    primary key (rkey, did, collection)
);
create index tombstone_did_idx on atview.tombstone (did);

-- Links that have no column: elements of arrays, members of unions, anything in
-- parts of a record that no lexicon describes. Rows of a record are replaced
-- together with it, under the partition's fence, which keeps them unique; a
-- unique index over five texts would pass what a B-tree entry can hold.
create table atview.link (
    target     text collate "C" not null, -- AT-URI, DID or URL
    collection text collate "C" not null, -- of the linking record
    path       text collate "C" not null, -- facets[].features[app.bsky.richtext.facet#mention].did
    did        text collate "C" not null,
    rkey       text collate "C" not null,
    sort_at    timestamptz not null,
    hidden     boolean not null default false
);
create index link_target_idx on atview.link (target, collection, path, sort_at);
create index link_target_did_idx on atview.link (target, did);
create index link_source_idx on atview.link (rkey, did, collection);
create index link_did_idx on atview.link (did);

-- For every link, with a column or without: how many visible records link to a
-- target, and how many accounts wrote them. Changes in the transaction that
-- changes the rows.
create table atview.link_count (
    target     text collate "C" not null,
    collection text collate "C" not null,
    path       text collate "C" not null,
    records    bigint not null check (records >= 0),
    dids       bigint not null check (dids >= 0 and dids <= records),
    primary key (target, collection, path)
) with (fillfactor = 80);

-- What in a stored record breaks its lexicon or the data model.
create table atview.flag (
    collection text collate "C" not null,
    rkey       text collate "C" not null,
    did        text collate "C" not null,
    ordinal    smallint not null,
    path       text not null,
    reason     text not null,
    primary key (rkey, did, collection, ordinal)
);
create index flag_did_idx on atview.flag (did);
create index flag_collection_idx on atview.flag (collection);

-- What could not be stored at all, with its bytes.
create table atview.dead_letter (
    digest    bytea primary key, -- SHA-256 of the bytes: a replay adds nothing
    at        timestamptz not null,
    source    text not null,
    reason    text not null,
    bytes     bytea not null,
    full_size bigint not null -- more than length(bytes) when they had to be cut
);
create index dead_letter_at_idx on atview.dead_letter (at);

-- Repositories that a source has declared anew (#sync): what is known of them is
-- to be reconciled with the repository itself.
create table atview.resync (
    did          text collate "C" primary key,
    rev          text collate "C" not null, -- '' if the source gave none
    requested_at timestamptz not null
);

-- +goose Down
drop schema records cascade;
drop schema atview cascade;
