package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
)

// digest sums up how records of a collection are read: see
// [Collection.Fingerprint]. Descriptions do not count.
type digest struct {
	text  []byte
	index map[any]int // types met, by the order they were met in
}

func newDigest() *digest { return &digest{index: map[any]int{}} }

func (d *digest) add(parts ...any) {
	for _, part := range parts {
		if v := reflect.ValueOf(part); v.Kind() == reflect.Pointer {
			if v.IsNil() {
				part = "-"
			} else {
				part = v.Elem().Interface()
			}
		}
		d.text = fmt.Appendf(d.text, "%v\x1f", part)
	}
}

// descend adds what is under a type, once: types refer to one another in
// circles.
func (d *digest) descend(to Type) {
	if to == nil {
		return
	}
	if n, met := d.index[to]; met {
		d.add("again", n)
		return
	}
	d.index[to] = len(d.index)
	to.describe(d)
	d.add("end")
}

func (d *digest) sum() string {
	sum := sha256.Sum256(d.text)
	return hex.EncodeToString(sum[:16])
}
