package replay

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// TargetOptions say where requests go and how they are changed on the way.
type TargetOptions struct {
	URL     string        // http://host[:port] or https://host[:port]
	Allow   []string      // names, addresses and prefixes such as 10.0.0.0/8 that it may be, besides loopback
	OwnHost bool          // the target's own host is sent instead of the recorded one
	Headers []Header      // what is changed
	CA      string        // PEM file of who is trusted for https; empty = the system's
	HTTP2   bool          // HTTP/2 in clear; with https it is agreed upon by itself
	Timeout time.Duration // of a request, from its first byte to the last of its answer; 0 = 15s
	Body    int64         // bytes kept of an answer's body; 0 = 1MiB
	Conns   int           // connections that are kept open; 0 = 256

	// Dial opens connections instead of the system's dialer, if it is set. What
	// it connects to is not checked.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Target is where requests are sent. It follows no redirects and uses no proxy of
// the environment, and connects to addresses only that are allowed, whatever its
// name resolves to. It may be used by many goroutines.
type Target struct {
	options   TargetOptions
	scheme    string
	host      string // with its port, if the URL has one
	allow     allowList
	transport *http.Transport
}

// NewTarget checks where o leads to. A name is looked up now, so that a target
// that is not allowed is refused before anything is sent, and again with every
// connection. The caller closes it.
func NewTarget(ctx context.Context, o TargetOptions) (*Target, error) {
	u, err := url.Parse(o.URL)
	switch {
	case o.URL == "":
		return nil, errors.New("no target: give it an address like http://127.0.0.1:9001")
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, fmt.Errorf("%q is not a URL: write it like http://127.0.0.1:9001", o.URL)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q: the target speaks http or https, not %s", o.URL, u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("%q is more than a host and a port: paths are those of the recording", o.URL)
	}
	t := &Target{options: o, scheme: u.Scheme, host: u.Host}
	t.options.Timeout = cmp.Or(o.Timeout, 15*time.Second)
	t.options.Body = cmp.Or(o.Body, 1<<20)
	if t.allow, err = parseAllow(o.Allow); err != nil {
		return nil, err
	}
	if err := t.allow.check(ctx, u.Hostname()); err != nil && o.Dial == nil {
		return nil, err
	}
	trust, err := roots(o.CA)
	if err != nil {
		return nil, err
	}
	conns := cmp.Or(o.Conns, 256)
	t.transport = &http.Transport{
		DialContext:         t.dial(u.Hostname()),
		TLSClientConfig:     &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: t.options.Timeout,
		DisableCompression:  true, // an answer is compared as it came
		MaxIdleConns:        conns,
		MaxIdleConnsPerHost: conns,
		IdleConnTimeout:     idleTime,
		Protocols:           new(http.Protocols),
	}
	t.transport.Protocols.SetHTTP1(!o.HTTP2 || u.Scheme == "https")
	t.transport.Protocols.SetHTTP2(u.Scheme == "https")
	t.transport.Protocols.SetUnencryptedHTTP2(o.HTTP2 && u.Scheme == "http")
	return t, nil
}

// idleTime is below the five seconds after which common servers close a connection
// that nobody uses: a request that meets that on its way would be the target's
// failure.
const idleTime = 4 * time.Second

// Close closes the connections that no request uses.
func (t *Target) Close() { t.transport.CloseIdleConnections() }

// URL is where the target is.
func (t *Target) URL() string { return t.scheme + "://" + t.host }

func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", file)
	}
	return pool, nil
}

// dial connects to addresses only that are allowed for a host. The system's
// dialer asks about each address that the name resolves to when it is about to
// connect: a name that resolves to something else by then does not help.
func (t *Target) dial(host string) func(ctx context.Context, network, address string) (net.Conn, error) {
	if t.options.Dial != nil {
		return t.options.Dial
	}
	d := &net.Dialer{
		Timeout: t.options.Timeout,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return t.allow.admit(host, to.Addr())
		},
	}
	return d.DialContext
}

// allowList are the hosts that requests may go to, besides loopback.
type allowList struct {
	names    map[string]bool // lower-case
	prefixes []netip.Prefix
}

func parseAllow(allowed []string) (allowList, error) {
	list := allowList{names: map[string]bool{}}
	for _, text := range allowed {
		if address, err := netip.ParseAddr(text); err == nil {
			address = address.Unmap()
			list.prefixes = append(list.prefixes, netip.PrefixFrom(address, address.BitLen()))
		} else if prefix, err := netip.ParsePrefix(text); err == nil {
			list.prefixes = append(list.prefixes, prefix)
		} else if text == "" || strings.ContainsAny(text, "/: *@") {
			return list, fmt.Errorf("%q is neither a host's name, an address nor a prefix such as 10.0.0.0/8", text)
		} else {
			list.names[strings.ToLower(text)] = true
		}
	}
	return list, nil
}

// check looks a host up and says whether all that it resolves to is allowed.
func (l allowList) check(ctx context.Context, host string) error {
	if address, err := netip.ParseAddr(host); err == nil {
		return l.admit(host, address)
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if err := l.admit(host, address); err != nil {
			return err
		}
	}
	return nil
}

// admit says whether an address that a host resolved to may be connected to. A
// name that is allowed may be anything but what is nobody's service: those
// addresses, with the metadata service of clouds among them, must be named
// themselves.
func (l allowList) admit(host string, address netip.Addr) error {
	address = address.Unmap().WithZone("")
	for _, p := range l.prefixes {
		if p.Contains(address) {
			return nil
		}
	}
	where := host
	if host != address.String() {
		where = fmt.Sprintf("%s, which is %s,", host, address)
	}
	odd := address.IsLinkLocalUnicast() || address.IsMulticast() || address.IsUnspecified()
	switch {
	case address.IsLoopback(), l.names[strings.ToLower(host)] && !odd:
		return nil
	case odd:
		return fmt.Errorf("%w: %s is no address of a service; name the address itself if it is meant", errNotAllowed, where)
	}
	return fmt.Errorf("%w: %s is not on this machine; name it if recorded requests may go there", errNotAllowed, where)
}

var errNotAllowed = errors.New("not allowed as a target")
