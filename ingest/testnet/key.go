package testnet

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"gitlab.com/yawning/secp256k1-voi/secec"
)

// signer is a key whose signatures depend on nothing but the key and what is
// signed (RFC 6979), so that a network is the same to the last byte for the same
// seed. The keys of atcrypto sign with random numbers.
type signer struct {
	k256   bool
	public atcrypto.PublicKey
	sign   func(hash []byte) ([]byte, error)
}

var _ atcrypto.PrivateKey = (*signer)(nil)

// newSigner derives a key from what names it.
func newSigner(k256 bool, seed uint64, name string, generation int) *signer {
	for n := 0; ; n++ { // a hash that is no key has a chance of 2^-32 at most
		h := sha256.New()
		h.Write(binary.BigEndian.AppendUint64(nil, seed))
		fmt.Fprintf(h, "/key/%s/%d/%d", name, generation, n)
		secret := h.Sum(nil)
		var s *signer
		var err error
		if k256 {
			s, err = signerK256(secret)
		} else {
			s, err = signerP256(secret)
		}
		if err == nil {
			return s
		}
	}
}

func signerP256(secret []byte) (*signer, error) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
	if err != nil {
		return nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	public, err := atcrypto.ParsePublicUncompressedBytesP256(point)
	if err != nil {
		return nil, err
	}
	order := elliptic.P256().Params().N
	half := new(big.Int).Rsh(order, 1)
	return &signer{public: public, sign: func(hash []byte) ([]byte, error) {
		der, err := key.Sign(nil, hash, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		var sig struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &sig); err != nil {
			return nil, err
		}
		// https://atproto.com/specs/cryptography asks for the lower of the two S.
		if sig.S.Cmp(half) > 0 {
			sig.S.Sub(order, sig.S)
		}
		compact := make([]byte, 64)
		sig.R.FillBytes(compact[:32])
		sig.S.FillBytes(compact[32:])
		return compact, nil
	}}, nil
}

func signerK256(secret []byte) (*signer, error) {
	key, err := secec.NewPrivateKey(secret)
	if err != nil {
		return nil, err
	}
	public, err := atcrypto.ParsePublicBytesK256(key.PublicKey().CompressedBytes())
	if err != nil {
		return nil, err
	}
	options := &secec.ECDSAOptions{Hash: crypto.SHA256, Encoding: secec.EncodingCompact, RejectMalleable: true}
	return &signer{k256: true, public: public, sign: func(hash []byte) ([]byte, error) {
		return key.Sign(secec.RFC6979SHA256(), hash, options)
	}}, nil
}

func (s *signer) Equal(other atcrypto.PrivateKey) bool {
	o, ok := other.(*signer)
	return ok && s.public.Equal(o.public)
}

func (s *signer) PublicKey() (atcrypto.PublicKey, error) { return s.public, nil }

func (s *signer) HashAndSign(content []byte) ([]byte, error) {
	hash := sha256.Sum256(content)
	return s.sign(hash[:])
}
