package outbound

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"net/http/httptest"
)

// gzipped is n zeros, compressed.
func gzipped(n int) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(make([]byte, n)) //nolint:errcheck // into memory
	z.Close()
	return b.Bytes()
}

func newPool(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}
