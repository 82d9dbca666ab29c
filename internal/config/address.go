package config

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// checkListen checks a local address: host:port, where the host may be empty
// and port 0 stands for any free one.
func checkListen(address string) *textError {
	const hint = "write it like 127.0.0.1:8080, or :8080 for all interfaces"
	if address == "" {
		return textErrorf(hint, "is missing")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return textErrorf(hint, "must be host:port, is %q", abridged(address))
	}
	if !isPort(port, 0) {
		return textErrorf("ports are 0 to 65535", "%q is not a port", abridged(port))
	}
	if host != "" && !isHost(host) {
		return textErrorf(hint, "%q is not an address of this machine", abridged(host))
	}
	return nil
}

// checkEndpoint checks a backend's address: host:port.
func checkEndpoint(address string) *textError {
	const hint = "write it like 127.0.0.1:9000"
	if scheme, _, ok := strings.Cut(address, "://"); ok {
		return checkURL(address, scheme)
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil && isHost(strings.Trim(address, "[]")):
		return textErrorf("did you mean "+net.JoinHostPort(strings.Trim(address, "[]"), "80")+"?", "%q has no port", abridged(address))
	case err != nil:
		return textErrorf(hint, "must be host:port, is %q", abridged(address))
	case !isPort(port, 1):
		return textErrorf("ports are 1 to 65535", "%q is not a port", abridged(port))
	case !isHost(host):
		return textErrorf(hint, "%q is not a host", abridged(host))
	}
	return nil
}

// checkURL says how to write a URL as an endpoint.
func checkURL(address, scheme string) *textError {
	switch scheme {
	case "http", "https":
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			hint := "did you mean " + hostPort(u) + "?"
			if scheme == "https" {
				hint = "did you mean " + hostPort(u) + ", and tls: {} of the backend?"
			}
			return textErrorf(hint, "must be host:port, is a URL")
		}
	}
	return textErrorf("write it like 127.0.0.1:9000", "must be host:port, is %q", abridged(address))
}

// hostPort is a URL's host with the port written out.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func isPort(s string, least int) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && isDigits(s) && int(n) >= least
}

// isHost reports whether s is an IP address, without brackets, or a name.
func isHost(s string) bool {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Zone() == "" || addr.IsLinkLocalUnicast()
	}
	_, wildcard, err := ParseHostname(s)
	return err == nil && !wildcard && !strings.HasPrefix(s, "[")
}

// isLoopback reports whether only this machine can reach a listening address,
// which is valid.
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
