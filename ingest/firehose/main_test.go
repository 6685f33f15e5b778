package firehose

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/atview/atview/index/dbtest"
)

func TestMain(m *testing.M) {
	dbtest.Main(m,
		// Started when a package below indigo's tree is loaded, and never ended.
		goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}
