package localnats

import "github.com/nats-io/nats.go"

// TB is what [StartTest] needs of a testing.TB.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// StartTest starts a server for the test, with empty storage and no port, and
// connects to it. Both end with the test.
func StartTest(t TB) *nats.Conn {
	t.Helper()
	s, err := Start(Config{Dir: t.TempDir() + "/nats"})
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(s.Stop)
	nc, err := s.Connect()
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}
