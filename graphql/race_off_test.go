//go:build !race

package graphql

const slower = 1
