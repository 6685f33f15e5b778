package localnats

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// logger hands NATS' log to ours. What NATS notes of its own running is of
// interest to who looks for a fault, not to an operator of atview.
type logger struct {
	log zerolog.Logger

	mu  sync.Mutex
	err error
}

func (l *logger) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debug().Msgf(format, v...) }
func (l *logger) Tracef(format string, v ...any)  { l.log.Trace().Msgf(format, v...) }
func (l *logger) Errorf(format string, v ...any)  { l.log.Error().Msgf(format, v...) }

func (l *logger) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Maximum payloads over ") {
		// The size is our choice, and not for the operator to worry about.
		l.log.Debug().Msgf(format, v...)
		return
	}
	l.log.Warn().Msgf(format, v...)
}

// Fatalf keeps the error for Start to return. To end the process, as a NATS of
// its own would, is not up to us.
func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, fmt.Errorf(format, v...))
}

func (l *logger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
