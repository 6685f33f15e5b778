-- name: HeadOf :one
select rev, data from atview.head where did = @did;

-- name: PutHeads :exec
insert into atview.head as h (did, rev, data)
select unnest(@dids::text[]), unnest(@revs::text[]), unnest(@data::text[])
on conflict (did) do update set rev = excluded.rev, data = excluded.data, updated_at = now();

-- name: DropHeads :exec
delete from atview.head where did = any(@dids::text[]);

-- name: HeadsAt :one
select host, seq from atview.head_at where source = @source;

-- name: PutHeadsAt :exec
insert into atview.head_at (source, host, seq) values (@source, @host, @seq)
on conflict (source) do update set host = excluded.host, seq = excluded.seq;

-- name: PutNewerHead :exec
insert into atview.head as h (did, rev, data) values (@did, @rev, @data)
on conflict (did) do update set rev = excluded.rev, data = excluded.data, updated_at = now()
where h.rev < excluded.rev;
