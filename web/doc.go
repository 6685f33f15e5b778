// Package web is the console: a page with GraphiQL, to read the API's
// documentation, to write queries and to watch subscriptions.
//
// The page's files are built by `make web` from web/src, committed under
// web/dist and embedded, so that building atview needs no Node.js and using the
// console needs no other host. The page's Content-Security-Policy holds the
// latter: the browser refuses whatever would go elsewhere.
//
// The package knows nothing of schemas and records. The page asks the GraphQL
// endpoint that [Config] names, as any other client would.
package web
