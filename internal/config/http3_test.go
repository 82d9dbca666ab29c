package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/test/certs"
)

func TestHTTP3IsCheckedWithItsListener(t *testing.T) {
	t.Parallel()
	leaf := certs.New(t).Leaf(t, "shop.example.com")
	secure := fmt.Sprintf("protocol: HTTPS, tls: {certificates: [{cert: %s, key: %s}]}", leaf.Cert, leaf.Key)
	const rest = `
routes: [{name: shop, listeners: [web], rules: [{backends: [{name: v1}]}]}]
backends: [{name: v1, endpoints: ["127.0.0.1:9000"]}]
`
	for _, c := range []struct{ name, listener, other, want string }{
		{"with HTTPS", secure + ", http3: {}", "", ""},
		{"beside UDP at another port", secure + ", http3: {}", `{name: dns, address: "127.0.0.1:53", protocol: UDP}`, ""},
		{"without TLS", "http3: {}", "", "listeners[0].http3: has no effect with HTTP (use protocol: HTTPS, or remove it)"},
		{"behind a load balancer", secure + `, http3: {}, proxyProtocol: {sources: ["10.0.0.0/8"]}`, "",
			"listeners[0].http3: cannot be used with proxyProtocol: clients over QUIC come without a header (give HTTP/3 a listener of its own, without proxyProtocol)"},
		{"at an address of UDP", secure + ", http3: {}", `{name: dns, address: "127.0.0.1:8443", protocol: UDP}`,
			"listeners[1].address: 127.0.0.1:8443 is the address of listeners[0] (give it another port)"},
		{"with a setting", secure + ", http3: {streams: 3}", "", `listeners[0].http3.streams: unknown field`},
	} {
		listeners := `listeners: [{name: web, address: "127.0.0.1:8443", ` + c.listener + "}"
		if c.other != "" {
			listeners += ", " + c.other
		}
		cfg, err := Parse("c.yaml", []byte(listeners+"]"+rest))
		got := ""
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "c.yaml:1: ")
		}
		if got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		if c.want != "" {
			continue
		}
		again, err := cfg.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if cfg, err = Parse("c.yaml", again); err != nil || cfg.Listeners[0].HTTP3 == nil {
			t.Errorf("%s: what is shown loses http3: %v\n%s", c.name, err, again)
		}
	}
	_, err := Parse("c.yaml", []byte(`listeners: [{name: dns, address: "127.0.0.1:8443", protocol: UDP}, {name: web, address: "127.0.0.1:8443", http3: {}, `+secure+"}]"+rest))
	if want := "c.yaml:1: listeners[1].http3: needs UDP at 127.0.0.1:8443, which listeners[0] has (give one of them another port)"; err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
