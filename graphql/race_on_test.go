//go:build race

package graphql

// slower is how much longer things may take under the race detector.
const slower = 15
