package route

import (
	"net/netip"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
)

// fields is a request's header in order, as name, value, name, value.
type fields []string

func (f fields) Value(name string, i int) ([]byte, bool) {
	for j := 0; j+1 < len(f); j += 2 {
		if strings.EqualFold(f[j], name) {
			if i == 0 {
				return []byte(f[j+1]), true
			}
			i--
		}
	}
	return nil, false
}

// get is a GET request for http://host/target.
func get(host, target string, header ...string) *Request {
	path, query, _ := strings.Cut(target, "?")
	return &Request{
		Host: []byte(host), Method: []byte("GET"), Path: []byte(path), Query: []byte(query),
		Source: netip.MustParseAddr("192.0.2.7"), Headers: fields(header),
	}
}

// from is r with another source.
func (r *Request) from(source string) *Request {
	r.Source = netip.MustParseAddr(source)
	return r
}

// by is r with another method.
func (r *Request) by(method string) *Request {
	r.Method = []byte(method)
	return r
}

// on is r on another listener.
func (r *Request) on(listener int) *Request {
	r.Listener = listener
	return r
}

func exact(path string) *config.PathMatch {
	return &config.PathMatch{Type: config.PathExact, Value: path}
}

func prefix(path string) *config.PathMatch {
	return &config.PathMatch{Type: config.PathPrefix, Value: path}
}

func like(path string) *config.PathMatch {
	return &config.PathMatch{Type: config.PathRegexp, Value: path}
}

func value(name, value string) []config.ValueMatch {
	return []config.ValueMatch{{Type: config.ValueExact, Name: name, Value: value}}
}

func values(kind config.ValueMatchType, name, value string) []config.ValueMatch {
	return []config.ValueMatch{{Type: kind, Name: name, Value: value}}
}

// oneListener is a Config with routes on a listener called web.
func oneListener(routes ...config.Route) *config.Config {
	return &config.Config{Listeners: []config.Listener{{Name: "web"}}, Routes: routes}
}

// ruleFor is a rule with one match.
func ruleFor(m config.Match) config.Rule {
	return config.Rule{Matches: []config.Match{m}}
}
