package jetstreamv2

// received is what came over the socket.
type received struct {
	data []byte
	zstd bool
	// length of what was sent; data is its beginning if that is shorter.
	length int64
}

// Size is what it takes of the buffer.
func (f received) Size() int { return len(f.data) }
