package dbtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/atview/atview/index/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestX(t *testing.T) {
	for i := range 6 {
		s := time.Now()
		u := dbtest.New(t)
		t.Log(i, time.Since(s), u)
	}
	s := time.Now()
	p := dbtest.Private(t)
	t.Log(time.Since(s))
	dbtest.Crash(t, p)
	t.Log(time.Since(s))
	c, err := pgx.Connect(context.Background(), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close(context.Background())
}
