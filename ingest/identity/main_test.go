package identity

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/atview/atview/index/dbtest"
)

func TestMain(m *testing.M) {
	dbtest.Main(m,
		// Importing indigo's repo package, as package testnet does, starts it, and nothing
		// ends it.
		goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}
