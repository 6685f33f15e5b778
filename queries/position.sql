-- name: StartPosition :exec
insert into atview.position (partition, seq) values (@partition, 0)
on conflict (partition) do nothing;

-- name: Position :one
select seq, message_at from atview.position where partition = @partition;

-- name: Positions :many
select partition, seq, message_at, updated_at from atview.position order by partition;

-- Moves a partition from the position that was read; no row means that another
-- worker has moved it.
-- name: MovePosition :execrows
update atview.position
set seq = @seq, message_at = @message_at, updated_at = now()
where partition = @partition and seq = @was;
