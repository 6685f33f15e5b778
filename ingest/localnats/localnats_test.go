package localnats

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// serveEnv makes this test binary a server on the named folder, to be killed.
const serveEnv = "LOCALNATS_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		serve(dir)
	}
	goleak.VerifyTestMain(m)
}

// serve publishes until it is killed, and says how far it has come.
func serve(dir string) {
	ctx := context.Background()
	s, err := Start(Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	nc, err := s.Connect()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(ctx, config)
	}
	for err == nil {
		var ack *jetstream.PubAck
		if ack, err = js.Publish(ctx, "log.x", bytes.Repeat([]byte("x"), 600)); err == nil {
			fmt.Println(ack.Sequence)
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

var config = jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log.>"}, Storage: jetstream.FileStorage, AllowDirect: true}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func open(t *testing.T, s *Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func publish(t *testing.T, js jetstream.JetStream, data []byte) {
	t.Helper()
	if _, err := js.Publish(t.Context(), "log.x", data); err != nil {
		t.Fatal(err)
	}
}

func last(t *testing.T, js jetstream.JetStream) *jetstream.RawStreamMsg {
	t.Helper()
	stream, err := js.Stream(t.Context(), config.Name)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), "log.x")
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestServer(t *testing.T) {
	t.Parallel()

	t.Run("KeepsWhatWasPublished", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "nats")
		s := start(t, Config{Dir: dir})
		js := open(t, s)
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		publish(t, js, []byte("one"))
		publish(t, js, []byte("two"))
		s.Stop()
		s.Stop() // harmless

		if got := last(t, open(t, start(t, Config{Dir: dir}))); string(got.Data) != "two" || got.Sequence != 2 {
			t.Errorf("last message is %q, sequence %d", got.Data, got.Sequence)
		}
	})

	t.Run("KilledProcessLosesNothing", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "nats")
		acked := serveAndKill(t, dir, 200)
		got := last(t, open(t, start(t, Config{Dir: dir}))).Sequence
		// One more may have been stored whose acknowledgement was not read.
		if got < acked {
			t.Errorf("the log ends at %d, but %d was acknowledged", got, acked)
		}
	})

	t.Run("SecondServerOnTheFolderIsRefused", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "nats")
		start(t, Config{Dir: dir})
		_, err := Start(Config{Dir: dir})
		if !errors.Is(err, ErrLocked) {
			t.Fatalf("got %v, want ErrLocked", err)
		}
		for _, want := range []string{dir, strconv.Itoa(os.Getpid())} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not name %s", err, want)
			}
		}
	})

	t.Run("StartsAgainAfterStop", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "nats")
		start(t, Config{Dir: dir}).Stop()
		start(t, Config{Dir: dir})
	})

	t.Run("ListensOnlyWithAPort", func(t *testing.T) {
		t.Parallel()
		closed := start(t, Config{Dir: filepath.Join(t.TempDir(), "nats")})
		if url := closed.URL(); url != "" {
			t.Errorf("URL without a port is %q", url)
		}
		s := start(t, Config{Dir: filepath.Join(t.TempDir(), "nats"), Port: -1})
		if url := s.URL(); !strings.HasPrefix(url, "nats://127.0.0.1:") {
			t.Errorf("URL is %q, want loopback", url)
		}
	})

	t.Run("TakesLargeMessages", func(t *testing.T) {
		t.Parallel()
		js := open(t, start(t, Config{Dir: filepath.Join(t.TempDir(), "nats")}))
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		large := make([]byte, 30<<20)
		large[len(large)-1] = 'e'
		publish(t, js, large)
		if !bytes.Equal(last(t, js).Data, large) {
			t.Error("the message came back changed")
		}
	})

	t.Run("AnOrdinaryStartWarnsOfNothing", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		s := start(t, Config{Dir: filepath.Join(t.TempDir(), "nats"), Log: zerolog.New(&log).Level(zerolog.WarnLevel)})
		s.Stop() // no writer of the log is left
		if log.Len() > 0 {
			t.Errorf("it warned: %s", &log)
		}
	})

	t.Run("StoreIsBounded", func(t *testing.T) {
		t.Parallel()
		s := start(t, Config{Dir: filepath.Join(t.TempDir(), "nats"), StoreMax: 1 << 20})
		large := config
		large.MaxBytes = 2 << 20
		if _, err := open(t, s).CreateStream(t.Context(), large); err == nil {
			t.Error("a stream larger than the store was accepted")
		}
	})

	t.Run("SaysWhyItCannotStart", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "nats")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Start(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("error is %v, want one that names %s", err, dir)
		}
		// And the folder is free again.
		if err := os.Remove(filepath.Join(dir, "jetstream")); err != nil {
			t.Fatal(err)
		}
		start(t, Config{Dir: dir})
	})

	t.Run("RefusesBadConfig", func(t *testing.T) {
		t.Parallel()
		_, err := Start(Config{Port: 70000, MaxPayload: 100 << 20, StoreMax: -1})
		if err == nil {
			t.Fatal("no error")
		}
		if faults := strings.Count(err.Error(), "\n") + 1; faults != 4 {
			t.Errorf("%d faults reported, want 4:\n%v", faults, err)
		}
	})
}

func TestStartTest(t *testing.T) {
	t.Parallel()
	js, err := jetstream.New(StartTest(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	publish(t, js, []byte("x"))
}

// serveAndKill runs a publishing process and kills it after n
// acknowledgements. It returns the last one that was read.
func serveAndKill(t *testing.T, dir string, n int) (acked uint64) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), serveEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		seq, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Fatal(lines.Text())
		}
		acked = seq
		if seq == uint64(n) {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // "signal: killed"
	if acked < uint64(n) {
		t.Fatalf("only %d of %d were acknowledged", acked, n)
	}
	return acked
}
