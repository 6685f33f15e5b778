package car

// Unsigned has the signature left out, for files whose keys are lost.
func Unsigned(o Options) Options {
	o.unsigned = true
	return o
}

// Loop makes every block of r the one at the root of its tree.
func Loop(r *Repo) {
	for d := range r.blocks {
		r.blocks[d] = r.blocks[r.root]
	}
}
