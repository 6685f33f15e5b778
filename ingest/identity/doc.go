// Package identity finds out what a DID stands for: its handle, the host of its
// repository, the key that signs its commits.
package identity
