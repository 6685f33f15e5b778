package localpg

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The ports to choose from lie below those that systems hand to outgoing
// connections (32768 up on Linux, 49152 up elsewhere). A port from that range
// could be taken, while Postgres restarts, by the very client that tries to
// reach it: on the loopback interface a socket can even connect to itself.
const (
	firstPort = 15000
	lastPort  = 32000
)

// loadPort takes the port of the last start if it is free, else a new one.
func (s *Server) loadPort() error {
	file := filepath.Join(s.cfg.Dir, "port")
	text, err := os.ReadFile(file)
	if err == nil {
		if port, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && portFree(port) {
			s.port = port
			return nil
		}
		s.log.Warn().Str("port", strings.TrimSpace(string(text))).Msg("the port of the last start is taken; choosing another")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("port of the private Postgres: %w", err)
	}
	return s.choosePort()
}

func (s *Server) choosePort() error {
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if !portFree(port) {
			continue
		}
		if err := writeFile(filepath.Join(s.cfg.Dir, "port"), strconv.Itoa(port)+"\n"); err != nil {
			return fmt.Errorf("port of the private Postgres: %w", err)
		}
		s.port = port
		return nil
	}
	return fmt.Errorf("port of the private Postgres: no free one on 127.0.0.1 from %d to %d", firstPort, lastPort)
}

func portFree(port int) bool {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
