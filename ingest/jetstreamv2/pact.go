package jetstreamv2

import (
	"cmp"
	"context"
	"errors"
	"sync"
)

// pact is what Live and Archive settle between them: where the one begins and the
// other ends. The archive knows the tip of what can be downloaded, has its own
// range stored, and only then lets Live begin at its end. So wherever the process
// is killed, the two ranges touch.
type pact struct {
	requests chan request

	mu    sync.Mutex
	ended chan struct{} // closed while an archive that ran does not
	// host is the one of which Live has begun; empty before.
	host string
}

// need is what Live has: where it has read to, seq 0 for nothing yet.
type need struct {
	host string
	seq  int64
	// gap is whether the server has no more what follows seq.
	gap bool
}

// begin is where Live may go on.
type begin struct {
	keep bool // where it was
	host string
	seq  int64
}

type request struct {
	need   need
	answer chan answer // capacity 1
}

type answer struct {
	begin begin
	err   error
}

// errNoArchive says that the archive has ended, or reads another host.
var errNoArchive = errors.New("no archive is being read for it")

func newPact() *pact {
	return &pact{requests: make(chan request), ended: make(chan struct{})}
}

// ask waits for the archive to answer.
func (p *pact) ask(ctx context.Context, n need) (begin, error) {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	r := request{n, make(chan answer, 1)}
	select {
	case p.requests <- r:
	case <-ended:
		return begin{}, errNoArchive
	case <-ctx.Done():
		return begin{}, ctx.Err()
	}
	select {
	case a := <-r.answer:
		if a.err == nil {
			p.mu.Lock()
			p.host = cmp.Or(a.begin.host, n.host)
			p.mu.Unlock()
		}
		return a.begin, a.err
	case <-ended:
		return begin{}, errNoArchive
	case <-ctx.Done():
		return begin{}, ctx.Err()
	}
}

// begun returns the host of which Live has begun, and empty before.
func (p *pact) begun() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.host
}

// start says that an archive runs; what it returns is to be called when it does
// not any more.
func (p *pact) start() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ended:
		p.ended = make(chan struct{})
	default: // the first; Live may be waiting already
	}
	ended := p.ended
	return func() { close(ended) }
}
