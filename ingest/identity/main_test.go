package identity

import (
	"testing"

	"github.com/atview/atview/index/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
