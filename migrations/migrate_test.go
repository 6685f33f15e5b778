package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/atview/atview/index/dbtest"
	"github.com/atview/atview/migrations"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// TestUpgrade brings a database of the first version, with data in it, to this
// one.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	if err := migrations.Up(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	p, err := migrations.Provider(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.DownTo(t.Context(), 1); err != nil {
		t.Fatalf("back to the first version: %v", err)
	}
	_, err = pool.Exec(t.Context(), `insert into atview.position (partition, seq) values (0, 7), (1, 9);
		insert into atview.actor (did, handle) values ('did:plc:a', 'a.test');
		insert into atview.resync (did, rev, requested_at) values ('did:plc:a', '3kaaaaaaaaaaa', now()), ('did:plc:b', '', now())`)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	var positions, repos, actors string
	err = pool.QueryRow(t.Context(), `select
		(select string_agg(lane || partition || ':' || seq, ' ' order by partition) from atview.position),
		(select string_agg(did || ' ' || state || ' ' || why || ' ' || wanted_rev, ', ' order by did) from atview.repo),
		(select string_agg(did || ' ' || handle, ', ') from atview.actor)`).Scan(&positions, &repos, &actors)
	if err != nil {
		t.Fatal(err)
	}
	if positions != "live0:7 live1:9" || repos != "did:plc:a queued sync 3kaaaaaaaaaaa, did:plc:b queued sync " || actors != "did:plc:a a.test" {
		t.Errorf("positions %q, repos %q, actors %q", positions, repos, actors)
	}
}
