create table records."app_bsky_actor_profile" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    "description" text collate "C",
    "display_name" text collate "C",
    "joined_via_starter_pack_uri" text collate "C",
    "joined_via_starter_pack_cid" text collate "C",
    "pinned_post_uri" text collate "C",
    "pinned_post_cid" text collate "C",
    "pronouns" text collate "C",
    "website" text collate "C",
    record jsonb not null,
    constraint "app_bsky_actor_profile$pkey" primary key (rkey, did)
);
create index "app_bsky_actor_profile$sort_at" on records."app_bsky_actor_profile" (sort_at);
create index "app_bsky_actor_profile$did_sort_at" on records."app_bsky_actor_profile" (did, sort_at);
create index "app_bsky_actor_profile$created_at" on records."app_bsky_actor_profile" ("created_at");
create index "app_bsky_actor_profile$joined_via_starter_pack_uri_sort_at" on records."app_bsky_actor_profile" ("joined_via_starter_pack_uri", sort_at) where "joined_via_starter_pack_uri" is not null;
create index "app_bsky_actor_profile$joined_via_starter_pack_uri_did" on records."app_bsky_actor_profile" ("joined_via_starter_pack_uri", did) where "joined_via_starter_pack_uri" is not null;
create index "app_bsky_actor_profile$pinned_post_uri_sort_at" on records."app_bsky_actor_profile" ("pinned_post_uri", sort_at) where "pinned_post_uri" is not null;
create index "app_bsky_actor_profile$pinned_post_uri_did" on records."app_bsky_actor_profile" ("pinned_post_uri", did) where "pinned_post_uri" is not null;
create index "app_bsky_actor_profile$website_sort_at" on records."app_bsky_actor_profile" ("website", sort_at) where "website" is not null;
create index "app_bsky_actor_profile$website_did" on records."app_bsky_actor_profile" ("website", did) where "website" is not null;
comment on table records."app_bsky_actor_profile" is 'app.bsky.actor.profile: A declaration of a Bluesky account profile.';
comment on column records."app_bsky_actor_profile"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."app_bsky_actor_profile"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."app_bsky_actor_profile"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."app_bsky_actor_profile"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."app_bsky_actor_profile"."indexed_at" is 'When the source saw this version.';
comment on column records."app_bsky_actor_profile"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."app_bsky_actor_profile"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."app_bsky_actor_profile"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."app_bsky_actor_profile"."created_at" is 'createdAt';
comment on column records."app_bsky_actor_profile"."description" is 'description: Free-form profile description text.';
comment on column records."app_bsky_actor_profile"."display_name" is 'displayName';
comment on column records."app_bsky_actor_profile"."joined_via_starter_pack_uri" is 'joinedViaStarterPack.uri';
comment on column records."app_bsky_actor_profile"."joined_via_starter_pack_cid" is 'joinedViaStarterPack.cid';
comment on column records."app_bsky_actor_profile"."pinned_post_uri" is 'pinnedPost.uri';
comment on column records."app_bsky_actor_profile"."pinned_post_cid" is 'pinnedPost.cid';
comment on column records."app_bsky_actor_profile"."pronouns" is 'pronouns: Free-form pronouns text.';
comment on column records."app_bsky_actor_profile"."website" is 'website';
comment on column records."app_bsky_actor_profile"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."app_bsky_feed_like" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    "subject_uri" text collate "C",
    "subject_cid" text collate "C",
    "via_uri" text collate "C",
    "via_cid" text collate "C",
    record jsonb not null,
    constraint "app_bsky_feed_like$pkey" primary key (rkey, did)
);
create index "app_bsky_feed_like$sort_at" on records."app_bsky_feed_like" (sort_at);
create index "app_bsky_feed_like$did_sort_at" on records."app_bsky_feed_like" (did, sort_at);
create index "app_bsky_feed_like$created_at" on records."app_bsky_feed_like" ("created_at");
create index "app_bsky_feed_like$subject_uri_sort_at" on records."app_bsky_feed_like" ("subject_uri", sort_at) where "subject_uri" is not null;
create index "app_bsky_feed_like$subject_uri_did" on records."app_bsky_feed_like" ("subject_uri", did) where "subject_uri" is not null;
create index "app_bsky_feed_like$via_uri_sort_at" on records."app_bsky_feed_like" ("via_uri", sort_at) where "via_uri" is not null;
create index "app_bsky_feed_like$via_uri_did" on records."app_bsky_feed_like" ("via_uri", did) where "via_uri" is not null;
comment on table records."app_bsky_feed_like" is 'app.bsky.feed.like: Record declaring a ''like'' of a piece of subject content.';
comment on column records."app_bsky_feed_like"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."app_bsky_feed_like"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."app_bsky_feed_like"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."app_bsky_feed_like"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."app_bsky_feed_like"."indexed_at" is 'When the source saw this version.';
comment on column records."app_bsky_feed_like"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."app_bsky_feed_like"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."app_bsky_feed_like"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."app_bsky_feed_like"."created_at" is 'createdAt';
comment on column records."app_bsky_feed_like"."subject_uri" is 'subject.uri';
comment on column records."app_bsky_feed_like"."subject_cid" is 'subject.cid';
comment on column records."app_bsky_feed_like"."via_uri" is 'via.uri';
comment on column records."app_bsky_feed_like"."via_cid" is 'via.cid';
comment on column records."app_bsky_feed_like"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."app_bsky_feed_post" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    "langs" text[] collate "C",
    "reply_parent_uri" text collate "C",
    "reply_parent_cid" text collate "C",
    "reply_root_uri" text collate "C",
    "reply_root_cid" text collate "C",
    "tags" text[] collate "C",
    "text" text collate "C",
    record jsonb not null,
    constraint "app_bsky_feed_post$pkey" primary key (rkey, did)
);
create index "app_bsky_feed_post$sort_at" on records."app_bsky_feed_post" (sort_at);
create index "app_bsky_feed_post$did_sort_at" on records."app_bsky_feed_post" (did, sort_at);
create index "app_bsky_feed_post$created_at" on records."app_bsky_feed_post" ("created_at");
create index "app_bsky_feed_post$reply_parent_uri_sort_at" on records."app_bsky_feed_post" ("reply_parent_uri", sort_at) where "reply_parent_uri" is not null;
create index "app_bsky_feed_post$reply_parent_uri_did" on records."app_bsky_feed_post" ("reply_parent_uri", did) where "reply_parent_uri" is not null;
create index "app_bsky_feed_post$reply_root_uri_sort_at" on records."app_bsky_feed_post" ("reply_root_uri", sort_at) where "reply_root_uri" is not null;
create index "app_bsky_feed_post$reply_root_uri_did" on records."app_bsky_feed_post" ("reply_root_uri", did) where "reply_root_uri" is not null;
comment on table records."app_bsky_feed_post" is 'app.bsky.feed.post: Record containing a Bluesky post.';
comment on column records."app_bsky_feed_post"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."app_bsky_feed_post"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."app_bsky_feed_post"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."app_bsky_feed_post"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."app_bsky_feed_post"."indexed_at" is 'When the source saw this version.';
comment on column records."app_bsky_feed_post"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."app_bsky_feed_post"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."app_bsky_feed_post"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."app_bsky_feed_post"."created_at" is 'createdAt: Client-declared timestamp when this post was originally created.';
comment on column records."app_bsky_feed_post"."langs" is 'langs: Indicates human language of post primary text content.';
comment on column records."app_bsky_feed_post"."reply_parent_uri" is 'reply.parent.uri';
comment on column records."app_bsky_feed_post"."reply_parent_cid" is 'reply.parent.cid';
comment on column records."app_bsky_feed_post"."reply_root_uri" is 'reply.root.uri';
comment on column records."app_bsky_feed_post"."reply_root_cid" is 'reply.root.cid';
comment on column records."app_bsky_feed_post"."tags" is 'tags: Additional hashtags, in addition to any included in post text and facets.';
comment on column records."app_bsky_feed_post"."text" is 'text: The primary post content. May be an empty string, if there are embeds.';
comment on column records."app_bsky_feed_post"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."app_bsky_graph_follow" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    "subject" text collate "C",
    "via_uri" text collate "C",
    "via_cid" text collate "C",
    record jsonb not null,
    constraint "app_bsky_graph_follow$pkey" primary key (rkey, did)
);
create index "app_bsky_graph_follow$sort_at" on records."app_bsky_graph_follow" (sort_at);
create index "app_bsky_graph_follow$did_sort_at" on records."app_bsky_graph_follow" (did, sort_at);
create index "app_bsky_graph_follow$created_at" on records."app_bsky_graph_follow" ("created_at");
create index "app_bsky_graph_follow$subject_sort_at" on records."app_bsky_graph_follow" ("subject", sort_at) where "subject" is not null;
create index "app_bsky_graph_follow$subject_did" on records."app_bsky_graph_follow" ("subject", did) where "subject" is not null;
create index "app_bsky_graph_follow$via_uri_sort_at" on records."app_bsky_graph_follow" ("via_uri", sort_at) where "via_uri" is not null;
create index "app_bsky_graph_follow$via_uri_did" on records."app_bsky_graph_follow" ("via_uri", did) where "via_uri" is not null;
comment on table records."app_bsky_graph_follow" is 'app.bsky.graph.follow: Record declaring a social ''follow'' relationship of another account. Duplicate follows will be ignored by the AppView.';
comment on column records."app_bsky_graph_follow"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."app_bsky_graph_follow"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."app_bsky_graph_follow"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."app_bsky_graph_follow"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."app_bsky_graph_follow"."indexed_at" is 'When the source saw this version.';
comment on column records."app_bsky_graph_follow"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."app_bsky_graph_follow"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."app_bsky_graph_follow"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."app_bsky_graph_follow"."created_at" is 'createdAt';
comment on column records."app_bsky_graph_follow"."subject" is 'subject';
comment on column records."app_bsky_graph_follow"."via_uri" is 'via.uri';
comment on column records."app_bsky_graph_follow"."via_cid" is 'via.cid';
comment on column records."app_bsky_graph_follow"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."com_myrecipes_collection" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    "description" text collate "C",
    "name" text collate "C",
    record jsonb not null,
    constraint "com_myrecipes_collection$pkey" primary key (rkey, did)
);
create index "com_myrecipes_collection$sort_at" on records."com_myrecipes_collection" (sort_at);
create index "com_myrecipes_collection$did_sort_at" on records."com_myrecipes_collection" (did, sort_at);
create index "com_myrecipes_collection$created_at" on records."com_myrecipes_collection" ("created_at");
comment on table records."com_myrecipes_collection" is 'com.myrecipes.collection: A list of recipes that belong together: a menu, a season, a shelf of favourites.';
comment on column records."com_myrecipes_collection"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."com_myrecipes_collection"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."com_myrecipes_collection"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."com_myrecipes_collection"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."com_myrecipes_collection"."indexed_at" is 'When the source saw this version.';
comment on column records."com_myrecipes_collection"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."com_myrecipes_collection"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."com_myrecipes_collection"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."com_myrecipes_collection"."created_at" is 'createdAt: When the collection was started, by its author''s clock.';
comment on column records."com_myrecipes_collection"."description" is 'description: What the recipes have in common, or whom they are for.';
comment on column records."com_myrecipes_collection"."name" is 'name: Name of the collection.';
comment on column records."com_myrecipes_collection"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."com_myrecipes_like" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    "subject_uri" text collate "C",
    "subject_cid" text collate "C",
    record jsonb not null,
    constraint "com_myrecipes_like$pkey" primary key (rkey, did)
);
create index "com_myrecipes_like$sort_at" on records."com_myrecipes_like" (sort_at);
create index "com_myrecipes_like$did_sort_at" on records."com_myrecipes_like" (did, sort_at);
create index "com_myrecipes_like$created_at" on records."com_myrecipes_like" ("created_at");
create index "com_myrecipes_like$subject_uri_sort_at" on records."com_myrecipes_like" ("subject_uri", sort_at) where "subject_uri" is not null;
create index "com_myrecipes_like$subject_uri_did" on records."com_myrecipes_like" ("subject_uri", did) where "subject_uri" is not null;
comment on table records."com_myrecipes_like" is 'com.myrecipes.like: A thumbs-up for a recipe, a review or a collection.';
comment on column records."com_myrecipes_like"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."com_myrecipes_like"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."com_myrecipes_like"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."com_myrecipes_like"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."com_myrecipes_like"."indexed_at" is 'When the source saw this version.';
comment on column records."com_myrecipes_like"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."com_myrecipes_like"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."com_myrecipes_like"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."com_myrecipes_like"."created_at" is 'createdAt: When the like was given, by its author''s clock.';
comment on column records."com_myrecipes_like"."subject_uri" is 'subject.uri: The record that is liked.';
comment on column records."com_myrecipes_like"."subject_cid" is 'subject.cid: The record that is liked.';
comment on column records."com_myrecipes_like"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."com_myrecipes_recipe" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "based_on_uri" text collate "C",
    "based_on_cid" text collate "C",
    "cook_minutes" bigint,
    "created_at" timestamptz,
    "cuisine" text collate "C",
    "description" text collate "C",
    "difficulty" text collate "C",
    "ingredients" text[] collate "C",
    "prep_minutes" bigint,
    "servings" bigint,
    "steps" text[] collate "C",
    "tags" text[] collate "C",
    "title" text collate "C",
    record jsonb not null,
    constraint "com_myrecipes_recipe$pkey" primary key (rkey, did)
);
create index "com_myrecipes_recipe$sort_at" on records."com_myrecipes_recipe" (sort_at);
create index "com_myrecipes_recipe$did_sort_at" on records."com_myrecipes_recipe" (did, sort_at);
create index "com_myrecipes_recipe$created_at" on records."com_myrecipes_recipe" ("created_at");
create index "com_myrecipes_recipe$based_on_uri_sort_at" on records."com_myrecipes_recipe" ("based_on_uri", sort_at) where "based_on_uri" is not null;
create index "com_myrecipes_recipe$based_on_uri_did" on records."com_myrecipes_recipe" ("based_on_uri", did) where "based_on_uri" is not null;
comment on table records."com_myrecipes_recipe" is 'com.myrecipes.recipe: A recipe: what goes in, what to do with it, and how long it takes.';
comment on column records."com_myrecipes_recipe"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."com_myrecipes_recipe"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."com_myrecipes_recipe"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."com_myrecipes_recipe"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."com_myrecipes_recipe"."indexed_at" is 'When the source saw this version.';
comment on column records."com_myrecipes_recipe"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."com_myrecipes_recipe"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."com_myrecipes_recipe"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."com_myrecipes_recipe"."based_on_uri" is 'basedOn.uri: The recipe that this one is a variation of.';
comment on column records."com_myrecipes_recipe"."based_on_cid" is 'basedOn.cid: The recipe that this one is a variation of.';
comment on column records."com_myrecipes_recipe"."cook_minutes" is 'cookMinutes: Minutes on the heat, in the oven, or at rest.';
comment on column records."com_myrecipes_recipe"."created_at" is 'createdAt: When the recipe was written, by its author''s clock.';
comment on column records."com_myrecipes_recipe"."cuisine" is 'cuisine: The kitchen that the dish belongs to, such as "Georgian" or "Oaxacan".';
comment on column records."com_myrecipes_recipe"."description" is 'description: A few words on the dish: where it comes from, what to watch out for.';
comment on column records."com_myrecipes_recipe"."difficulty" is 'difficulty: How much practice the dish asks for.';
comment on column records."com_myrecipes_recipe"."ingredients" is 'ingredients: What goes in, one ingredient with its amount per entry, in order of use.';
comment on column records."com_myrecipes_recipe"."prep_minutes" is 'prepMinutes: Minutes of work before anything is on the heat.';
comment on column records."com_myrecipes_recipe"."servings" is 'servings: How many people the amounts are for.';
comment on column records."com_myrecipes_recipe"."steps" is 'steps: What to do, one step per entry, in order.';
comment on column records."com_myrecipes_recipe"."tags" is 'tags: Words to find the recipe by, such as "vegetarian" or "weeknight".';
comment on column records."com_myrecipes_recipe"."title" is 'title: Name of the dish, as it would stand on a menu.';
comment on column records."com_myrecipes_recipe"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."com_myrecipes_review" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    "rating" bigint,
    "subject_uri" text collate "C",
    "subject_cid" text collate "C",
    "tags" text[] collate "C",
    "text" text collate "C",
    record jsonb not null,
    constraint "com_myrecipes_review$pkey" primary key (rkey, did)
);
create index "com_myrecipes_review$sort_at" on records."com_myrecipes_review" (sort_at);
create index "com_myrecipes_review$did_sort_at" on records."com_myrecipes_review" (did, sort_at);
create index "com_myrecipes_review$created_at" on records."com_myrecipes_review" ("created_at");
create index "com_myrecipes_review$subject_uri_sort_at" on records."com_myrecipes_review" ("subject_uri", sort_at) where "subject_uri" is not null;
create index "com_myrecipes_review$subject_uri_did" on records."com_myrecipes_review" ("subject_uri", did) where "subject_uri" is not null;
comment on table records."com_myrecipes_review" is 'com.myrecipes.review: What somebody who cooked a recipe thinks of it.';
comment on column records."com_myrecipes_review"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."com_myrecipes_review"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."com_myrecipes_review"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."com_myrecipes_review"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."com_myrecipes_review"."indexed_at" is 'When the source saw this version.';
comment on column records."com_myrecipes_review"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."com_myrecipes_review"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."com_myrecipes_review"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."com_myrecipes_review"."created_at" is 'createdAt: When the review was written, by its author''s clock.';
comment on column records."com_myrecipes_review"."rating" is 'rating: Stars, from 1 (never again) to 5 (every week).';
comment on column records."com_myrecipes_review"."subject_uri" is 'subject.uri: The recipe under review, in the version that was cooked.';
comment on column records."com_myrecipes_review"."subject_cid" is 'subject.cid: The recipe under review, in the version that was cooked.';
comment on column records."com_myrecipes_review"."tags" is 'tags: Short verdicts, such as "kids-loved-it" or "too-salty".';
comment on column records."com_myrecipes_review"."text" is 'text: How it went: what was changed, what worked, what did not.';
comment on column records."com_myrecipes_review"."record" is 'The record whole, as written. All typed columns are derived from it.';

create table records."xyz_statusphere_status" (
    rkey text collate "C" not null,
    did text collate "C" not null,
    cid text collate "C",
    rev text collate "C" not null,
    indexed_at timestamptz not null,
    sort_at timestamptz not null,
    flagged boolean not null default false,
    hidden boolean not null default false,
    "created_at" timestamptz,
    "status" text collate "C",
    record jsonb not null,
    constraint "xyz_statusphere_status$pkey" primary key (rkey, did)
);
create index "xyz_statusphere_status$sort_at" on records."xyz_statusphere_status" (sort_at);
create index "xyz_statusphere_status$did_sort_at" on records."xyz_statusphere_status" (did, sort_at);
create index "xyz_statusphere_status$created_at" on records."xyz_statusphere_status" ("created_at");
comment on table records."xyz_statusphere_status" is 'xyz.statusphere.status';
comment on column records."xyz_statusphere_status"."rkey" is 'Record key; with the DID the table''s key.';
comment on column records."xyz_statusphere_status"."did" is 'The repository the record is in. The AT-URI is at://did/collection/rkey.';
comment on column records."xyz_statusphere_status"."cid" is 'Hash of this version; null when the source did not give it.';
comment on column records."xyz_statusphere_status"."rev" is 'Revision of the repository that wrote this version; sorts by time.';
comment on column records."xyz_statusphere_status"."indexed_at" is 'When the source saw this version.';
comment on column records."xyz_statusphere_status"."sort_at" is 'The earlier of indexed_at and the moment that the record claims.';
comment on column records."xyz_statusphere_status"."flagged" is 'Breaks its lexicon; why is in atview.flag.';
comment on column records."xyz_statusphere_status"."hidden" is 'Its account is not active: in no list and no count.';
comment on column records."xyz_statusphere_status"."created_at" is 'createdAt';
comment on column records."xyz_statusphere_status"."status" is 'status';
comment on column records."xyz_statusphere_status"."record" is 'The record whole, as written. All typed columns are derived from it.';

