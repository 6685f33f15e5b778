-- name: Collections :many
select nsid, table_name, fingerprint from atview.collection order by nsid;

-- name: PutCollection :exec
insert into atview.collection (nsid, table_name, fingerprint) values (@nsid, @table_name, @fingerprint)
on conflict (nsid) do update
set table_name = excluded.table_name, fingerprint = excluded.fingerprint, updated_at = now();

-- name: DropCollection :exec
delete from atview.collection where nsid = @nsid;

-- name: ForgetCollections :exec
update atview.collection set fingerprint = '' where nsid <> all(@nsids::text[]) and fingerprint <> '';
