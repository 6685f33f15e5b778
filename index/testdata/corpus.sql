create table records."app_bsky_feed_generator" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "accepts_interactions" boolean,
    "content_mode" text collate "C",
    "created_at" timestamptz,
    "description" text collate "C",
    "did_" text collate "C",
    "display_name" text collate "C",
    record jsonb not null,
    constraint "app_bsky_feed_generator$pkey" primary key (rkey, did)
);
create index "app_bsky_feed_generator$sort_at" on records."app_bsky_feed_generator" (sort_at);
create index "app_bsky_feed_generator$did_sort_at" on records."app_bsky_feed_generator" (did, sort_at);
create index "app_bsky_feed_generator$created_at" on records."app_bsky_feed_generator" ("created_at");
create index "app_bsky_feed_generator$did__sort_at" on records."app_bsky_feed_generator" ("did_", sort_at) where "did_" is not null;
create index "app_bsky_feed_generator$did__did" on records."app_bsky_feed_generator" ("did_", did) where "did_" is not null;
comment on table records."app_bsky_feed_generator" is 'app.bsky.feed.generator: Record declaring of the existence of a feed generator, and containing metadata about it. The record can exist in any repository.';
comment on column records."app_bsky_feed_generator"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."app_bsky_feed_generator"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."app_bsky_feed_generator"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."app_bsky_feed_generator"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."app_bsky_feed_generator"."indexed_at" is 'When the source saw this version.';
comment on column records."app_bsky_feed_generator"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."app_bsky_feed_generator"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."app_bsky_feed_generator"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."app_bsky_feed_generator"."accepts_interactions" is 'acceptsInteractions: Declaration that a feed accepts feedback interactions from a client through app.bsky.feed.sendInteractions';
comment on column records."app_bsky_feed_generator"."content_mode" is 'contentMode';
comment on column records."app_bsky_feed_generator"."created_at" is 'createdAt';
comment on column records."app_bsky_feed_generator"."description" is 'description';
comment on column records."app_bsky_feed_generator"."did_" is 'did';
comment on column records."app_bsky_feed_generator"."display_name" is 'displayName';
comment on column records."app_bsky_feed_generator"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."pub_leaflet_document" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "author" text collate "C",
    "description" text collate "C",
    "post_ref_uri" text collate "C",
    "post_ref_cid" text collate "C",
    "publication" text collate "C",
    "published_at" timestamptz,
    "tags" text[] collate "C",
    "title" text collate "C",
    record jsonb not null,
    constraint "pub_leaflet_document$pkey" primary key (rkey, did)
);
create index "pub_leaflet_document$sort_at" on records."pub_leaflet_document" (sort_at);
create index "pub_leaflet_document$did_sort_at" on records."pub_leaflet_document" (did, sort_at);
create index "pub_leaflet_document$published_at" on records."pub_leaflet_document" ("published_at");
create index "pub_leaflet_document$author_sort_at" on records."pub_leaflet_document" ("author", sort_at) where "author" is not null;
create index "pub_leaflet_document$author_did" on records."pub_leaflet_document" ("author", did) where "author" is not null;
create index "pub_leaflet_document$post_ref_uri_sort_at" on records."pub_leaflet_document" ("post_ref_uri", sort_at) where "post_ref_uri" is not null;
create index "pub_leaflet_document$post_ref_uri_did" on records."pub_leaflet_document" ("post_ref_uri", did) where "post_ref_uri" is not null;
create index "pub_leaflet_document$publication_sort_at" on records."pub_leaflet_document" ("publication", sort_at) where "publication" is not null;
create index "pub_leaflet_document$publication_did" on records."pub_leaflet_document" ("publication", did) where "publication" is not null;
comment on table records."pub_leaflet_document" is 'pub.leaflet.document: Record containing a document';
comment on column records."pub_leaflet_document"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."pub_leaflet_document"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."pub_leaflet_document"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."pub_leaflet_document"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."pub_leaflet_document"."indexed_at" is 'When the source saw this version.';
comment on column records."pub_leaflet_document"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."pub_leaflet_document"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."pub_leaflet_document"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."pub_leaflet_document"."author" is 'author';
comment on column records."pub_leaflet_document"."description" is 'description';
comment on column records."pub_leaflet_document"."post_ref_uri" is 'postRef.uri';
comment on column records."pub_leaflet_document"."post_ref_cid" is 'postRef.cid';
comment on column records."pub_leaflet_document"."publication" is 'publication';
comment on column records."pub_leaflet_document"."published_at" is 'publishedAt';
comment on column records."pub_leaflet_document"."tags" is 'tags';
comment on column records."pub_leaflet_document"."title" is 'title';
comment on column records."pub_leaflet_document"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."win_tomo_x_pushat_allow" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    record jsonb not null,
    constraint "win_tomo_x_pushat_allow$pkey" primary key (rkey, did)
);
create index "win_tomo_x_pushat_allow$sort_at" on records."win_tomo_x_pushat_allow" (sort_at);
create index "win_tomo_x_pushat_allow$did_sort_at" on records."win_tomo_x_pushat_allow" (did, sort_at);
create index "win_tomo_x_pushat_allow$created_at" on records."win_tomo_x_pushat_allow" ("created_at");
comment on table records."win_tomo_x_pushat_allow" is 'win.tomo-x.pushat.allow: allow service to push. key must be did';
comment on column records."win_tomo_x_pushat_allow"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."win_tomo_x_pushat_allow"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."win_tomo_x_pushat_allow"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."win_tomo_x_pushat_allow"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."win_tomo_x_pushat_allow"."indexed_at" is 'When the source saw this version.';
comment on column records."win_tomo_x_pushat_allow"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."win_tomo_x_pushat_allow"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."win_tomo_x_pushat_allow"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."win_tomo_x_pushat_allow"."created_at" is 'createdAt';
comment on column records."win_tomo_x_pushat_allow"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."app_gainforest_organization_observations_measured_trees_cluster" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "area_sq_meters" text collate "C",
    "average_dbh_cm" text collate "C",
    "average_height_meters" text collate "C",
    "created_at" timestamptz,
    "data_source" text collate "C",
    "decimal_latitude" text collate "C",
    "decimal_longitude" text collate "C",
    "dominant_species" text collate "C",
    "license" text collate "C",
    "measured_by" text collate "C",
    "measurement_date_range" text collate "C",
    "measurement_protocol" text collate "C",
    "name" text collate "C",
    "site_ref" text collate "C",
    "species_count" bigint,
    "total_tree_count" bigint,
    record jsonb not null,
    constraint "app_gainforest_organization_observations_measured_tree_8327823a" primary key (rkey, did)
);
create index "app_gainforest_organization_observations_measured_tree_7c5f7721" on records."app_gainforest_organization_observations_measured_trees_cluster" (sort_at);
create index "app_gainforest_organization_observations_measured_tree_0f55ca1b" on records."app_gainforest_organization_observations_measured_trees_cluster" (did, sort_at);
create index "app_gainforest_organization_observations_measured_tree_2c5c2328" on records."app_gainforest_organization_observations_measured_trees_cluster" ("created_at");
create index "app_gainforest_organization_observations_measured_tree_35c606e0" on records."app_gainforest_organization_observations_measured_trees_cluster" ("site_ref", sort_at) where "site_ref" is not null;
create index "app_gainforest_organization_observations_measured_tree_25f0a69a" on records."app_gainforest_organization_observations_measured_trees_cluster" ("site_ref", did) where "site_ref" is not null;
comment on table records."app_gainforest_organization_observations_measured_trees_cluster" is 'app.gainforest.organization.observations.measuredTreesCluster: A declaration of a measured trees cluster for an organization';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."indexed_at" is 'When the source saw this version.';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."area_sq_meters" is 'areaSqMeters: Area of the cluster in square meters';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."average_dbh_cm" is 'averageDbhCm: Average diameter at breast height in cm';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."average_height_meters" is 'averageHeightMeters: Average tree height in meters';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."created_at" is 'createdAt: The date and time of the creation of the record';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."data_source" is 'dataSource: Source of the data (e.g., ''KoBoToolbox'', ''field survey'')';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."decimal_latitude" is 'decimalLatitude: Centroid latitude of the cluster';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."decimal_longitude" is 'decimalLongitude: Centroid longitude of the cluster';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."dominant_species" is 'dominantSpecies: Most common species scientific name';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."license" is 'license: Data license';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."measured_by" is 'measuredBy: Person(s) who measured the trees (pipe-delimited)';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."measurement_date_range" is 'measurementDateRange: Date range of measurements (ISO 8601 interval)';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."measurement_protocol" is 'measurementProtocol: Description of the measurement protocol used';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."name" is 'name: Name of the tree cluster/plot (e.g., ''Plot A - Riparian Zone'')';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."site_ref" is 'siteRef: AT-URI reference to the site this cluster belongs to';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."species_count" is 'speciesCount: Number of distinct species in the cluster';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."total_tree_count" is 'totalTreeCount: Total number of measured trees in the cluster';
comment on column records."app_gainforest_organization_observations_measured_trees_cluster"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."blue_2048_game" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "completed" boolean,
    "created_at" timestamptz,
    "current_score" bigint,
    "seeded_recording" text collate "C",
    "won" boolean,
    record jsonb not null,
    constraint "blue_2048_game$pkey" primary key (rkey, did)
);
create index "blue_2048_game$sort_at" on records."blue_2048_game" (sort_at);
create index "blue_2048_game$did_sort_at" on records."blue_2048_game" (did, sort_at);
create index "blue_2048_game$created_at" on records."blue_2048_game" ("created_at");
comment on table records."blue_2048_game" is 'blue.2048.game: A declaration of an instance of a at://2048 game';
comment on column records."blue_2048_game"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."blue_2048_game"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."blue_2048_game"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."blue_2048_game"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."blue_2048_game"."indexed_at" is 'When the source saw this version.';
comment on column records."blue_2048_game"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."blue_2048_game"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."blue_2048_game"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."blue_2048_game"."completed" is 'completed: The player no longer has any moves left';
comment on column records."blue_2048_game"."created_at" is 'createdAt';
comment on column records."blue_2048_game"."current_score" is 'currentScore: The game''s current score';
comment on column records."blue_2048_game"."seeded_recording" is 'seededRecording: This is the recording of the game. Like chess notation, but for 2048';
comment on column records."blue_2048_game"."won" is 'won: The player has found a 2048 tile (they have won)';
comment on column records."blue_2048_game"."record" is 'The record whole, as written. All typed columns are derived from it.';

