// Package outbound is how atview speaks to hosts that the network names: DID
// documents, repositories, lexicons, and the websockets of relays.
//
// Place in the flow: at the very edge. cmd makes one [Dialer] and one client by a
// [Config] and hands them to whatever asks hosts for something; no other package
// makes an HTTP client of its own.
//
// It guarantees:
//
//   - A name that somebody on the network chose leads to public addresses only,
//     unless [Config.AllowPrivate] says otherwise. The address is checked when the
//     socket is made, after the name was looked up, so a name that changes its
//     address between two questions gains nothing; redirects are held to the same.
//   - Credentials of a request do not follow a redirect to another host.
//   - [ReadAll] and [JSON] take no more bytes than they were told, counted after
//     decompression.
//   - What a host answers in place of what was asked for is a [StatusError], with
//     the XRPC error's name and the time that the host asks us to wait.
//
// It leaves to its callers how long a body may take (by their ctx: a repository
// may be minutes), how often they ask, and what they do with what they read.
package outbound
