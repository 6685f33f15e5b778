package outbound

import (
	"fmt"
	"net/netip"
)

// BlockedError says that an address is none that the network may send us to.
// Whoever named the host named it wrongly, so asking again is of no use.
type BlockedError struct {
	Address string // as dialed: an IP address and a port
	Reason  string
}

func (e *BlockedError) Error() string {
	return fmt.Sprintf("address %s is not reached: %s", e.Address, e.Reason)
}

// reserved are the parts of the address space that are not the public Internet,
// as of https://www.iana.org/assignments/iana-ipv4-special-registry and
// https://www.iana.org/assignments/iana-ipv6-special-registry.
var reserved = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "carrier-grade NAT"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"}, // clouds' metadata services
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocols"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relays"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	// Of IPv6, 2000::/3 is all that is routed; within it, these are not hosts, or
	// carry an IPv4 address that would pass the rules above.
	{netip.MustParsePrefix("2001::/23"), "IETF protocols"}, // Teredo among them
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
}

var global6 = netip.MustParsePrefix("2000::/3")

// notPublic says why an address is not one of the public Internet; empty if it
// is. NAT64 (64:ff9b::/96) is outside of 2000::/3 and refused with all the rest:
// what it leads to is an IPv4 address that only the gateway sees.
func notPublic(a netip.Addr) string {
	if a.Zone() != "" {
		return "link-local"
	}
	a = a.Unmap()
	for _, r := range reserved {
		if r.prefix.Contains(a) {
			return r.what
		}
	}
	if a.Is6() && !global6.Contains(a) {
		return "not global unicast"
	}
	return ""
}
