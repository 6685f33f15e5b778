-- Both lanes of a partition, so that their batches never overlap, whichever process
-- writes them: one that has lost its lease finishes its batch.
-- name: LockPositions :exec
select 1 from atview.position where partition = @partition order by lane for update;

-- name: StartPosition :exec
insert into atview.position (lane, partition, seq) values (@lane, @partition, 0)
on conflict (lane, partition) do nothing;

-- name: Position :one
select seq, message_at from atview.position where lane = @lane and partition = @partition;

-- name: Positions :many
select lane, partition, seq, message_at, updated_at from atview.position order by lane desc, partition;

-- Moves a partition from the position that was read; no row means that another
-- worker has moved it.
-- name: MovePosition :execrows
update atview.position
set seq = @seq, message_at = @message_at, updated_at = now()
where lane = @lane and partition = @partition and seq = @was;
