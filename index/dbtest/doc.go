// Package dbtest gives each test a Postgres database of its own.
//
// A package's tests use it like this:
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
//	func TestThing(t *testing.T) {
//		t.Parallel()
//		pool := dbtest.Pool(t) // an empty database, gone when the test ends
//		…
//	}
//
// The first call in a process starts a private Postgres (index/localpg, with
// fsync off); later ones only create a database in it. A crash test, which
// kills the server, takes one for itself with [Private].
//
// With ATVIEW_TEST_DATABASE_URL set, the databases are created in that server
// instead; its user must be allowed to create databases.
//
// # Guarantees
//
// No test sees another's rows, whether it runs in parallel or in another test
// binary. Nothing stays behind: databases go with their test, the server with
// the process (also one that is killed), its folder at the latest when the
// next test process starts. A goroutine that outlives the tests fails them.
//
// # Left to others
//
// Tables. The database is empty; migrations are the caller's.
package dbtest
