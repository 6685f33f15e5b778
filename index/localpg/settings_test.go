package localpg

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"large": render(settings(15432, machine{memory: 64 << 30, compression: "lz4", timezone: "UTC"}, false),
			map[string]string{"work_mem": "64MB", "cluster_name": `it's \ this`}),
		"small": render(settings(15432, machine{memory: 1 << 30, compression: "on", timezone: "GMT", sharedMem: "sysv"}, true), nil),
	} {
		golden := filepath.Join("testdata", name+".conf")
		if *update {
			if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if text != string(want) {
			t.Errorf("%s differs; see the diff after go test -update:\n%s", golden, text)
		}
	}
}

func TestSettingsHaveReasons(t *testing.T) {
	t.Parallel()
	for _, s := range settings(1, machine{sharedMem: "sysv"}, true) {
		if s.why == "" || strings.Contains(s.why, "\n") {
			t.Errorf("setting %s has no reason of one line", s.name)
		}
	}
}
