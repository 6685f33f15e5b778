package car

import (
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// commitVersion is the only one in use; see
// https://atproto.com/specs/repository#commit-objects.
const commitVersion = 3

// commit is what is read of a commit.
type commit struct {
	did, rev string
	version  uint64
	data     digest
	sig      []byte
	// unsigned is the commit's block without the signature, which is what was signed.
	unsigned []byte
}

func parseCommit(block []byte) (commit, error) {
	var c commit
	var hasData bool
	p := &parser{b: block}
	// A map of up to 23 keys has a head of one byte.
	c.unsigned = append(c.unsigned, 0)
	fields := byte(0)
	from := 0 // of the key in hand
	err := p.object(func(key string) {
		from = p.i - len(key) - 1 // a key of less than 24 bytes has a head of one, too
		switch key {
		case "did":
			c.did = p.text()
		case "version":
			c.version = p.uint()
		case "rev":
			c.rev = p.text()
		case "data":
			c.data, hasData = p.link(), true
		case "prev":
			p.nullableLink()
		case "sig":
			c.sig = p.bytes()
			return
		default:
			p.fail("unknown key %.20q", key)
			return
		}
		if p.err == nil {
			fields++
			c.unsigned = append(c.unsigned, block[from:p.i]...)
		}
	})
	if err != nil {
		return c, err
	}
	c.unsigned[0] = majorMap<<5 | fields
	if !hasData {
		p.fail("no data")
	}
	return c, p.err
}

// checkCommit reads the commit at the root and holds it against what is expected.
func (r *Repo) checkCommit(root digest, opts Options) error {
	block, ok, err := r.read(root, nil)
	if err != nil {
		return err
	}
	if !ok {
		return invalid(ReasonCommit, "the root is not in the file")
	}
	c, err := parseCommit(block)
	if err != nil {
		return invalid(ReasonCommit, "%v", err)
	}
	if c.version != commitVersion {
		return invalid(ReasonVersion, "version %d of the repository format, not %d", c.version, commitVersion)
	}
	if c.did != string(opts.DID) {
		return invalid(ReasonDID, "the repository of %.200q, not of %s", c.did, opts.DID)
	}
	rev, err := syntax.ParseTID(c.rev)
	if err != nil {
		return invalid(ReasonRev, "rev %.50q: %v", c.rev, err)
	}
	if at, most := rev.Time(), opts.Now().Add(opts.MaxAhead); at.After(most) {
		return invalid(ReasonRev, "rev %s is of the future: %s", rev, at.UTC().Format("2006-01-02T15:04:05Z"))
	}
	if !opts.unsigned {
		if len(c.sig) == 0 {
			return invalid(ReasonSignature, "not signed")
		}
		if err := opts.Key.HashAndVerify(c.unsigned, c.sig); err != nil {
			return invalid(ReasonSignature, "%v", err)
		}
	}
	// After the signature: an old repository is a mirror that lags only if it is the
	// right one.
	if rev < opts.MinRev {
		return invalid(ReasonOld, "rev %s is before %s", rev, opts.MinRev)
	}
	r.Rev, r.root = rev, c.data
	return nil
}
