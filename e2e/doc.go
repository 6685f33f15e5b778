// Package e2e tests atview against the network's own software: Bluesky's
// Jetstream with its simulated network, and the reference PDS with a PLC
// directory. They run as processes on loopback, and so does atview, as a user
// would run it.
//
// It is a module of its own: what the peers need is no business of atview's
// go.mod. Their versions are pinned here, for Go in go.mod and for Node.js in
// pds/package-lock.json. They are built, and npm's packages are installed, into
// the user's cache folder.
//
// What is true is always asked of the PDS that holds the repositories, read with
// indigo and never with atview's own code. atview's tables have to say the same.
// The tests leave to others what needs no peer: wire formats, hostile hosts and
// limits are tested next to the code that meets them.
package e2e
