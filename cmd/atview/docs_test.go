package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestSettingsAreDocumented compares docs/settings.md with the flags that there
// are, both ways.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| (`ATVIEW_[A-Z_]+`)?.*$")
	for _, m := range row.FindAllStringSubmatch(string(raw), -1) {
		documented[m[1]] = m[0]
	}
	exists := map[string]bool{}
	for _, c := range []*cobra.Command{devCommand(), demoCommand(), serveCommand(), simulateCommand(), planCommand(), migrateCommand(), schemaCommand(),
		lexiconAddCommand(), lexiconListCommand(), backfillCommand(), verifyCommand(), statusCommand(), versionCommand()} {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			exists[f.Name] = true
			line, ok := documented[f.Name]
			if !ok {
				t.Errorf("--%s of atview %s is not in docs/settings.md", f.Name, c.Name())
				return
			}
			if def := strings.Trim(f.DefValue, "[]"); def != "" && def != "false" && !strings.Contains(line, def) {
				t.Errorf("--%s of atview %s: default %s is not in %q", f.Name, c.Name(), def, line)
			}
		})
	}
	for name := range documented {
		if !exists[name] {
			t.Errorf("docs/settings.md has --%s, which does not exist", name)
		}
	}
}
