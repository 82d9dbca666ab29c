package config

import (
	"fmt"
	"net/url"
	"strings"
)

// QuickOptions is the quick start: what the flags of "understudy run" say
// instead of a file. Addresses are http://host:port, https://host:port or
// host:port; a URL's port defaults to 80 or 443.
type QuickOptions struct {
	Listen  string   // where clients connect
	TLSCert string   // PEM file: clients speak TLS, and get this certificate; empty = no TLS
	TLSKey  string   // PEM file: its key
	Primary string   // whose answers they get
	Shadow  string   // who gets copies; empty = no mirror
	Shadows []string // more shadows
	CA      string   // PEM file: who is trusted for https:// backends; empty = the system's

	Percent      *float64 // share of requests that is copied, to every shadow; nil = 100
	ShadowWrites bool     // copy requests with unsafe methods too

	Admin      string // admin address; empty = off
	AdminToken string // needed unless Admin is loopback
	AccessLog  string // file for the access log, "-" = stdout; empty = off
	Record     string // folder for a recording; empty = nothing is recorded
	Workers    int    // event loops; 0 = one per core
}

// Quick is the Config of the quick start: listener "web", route "default",
// backends "primary", "shadow", "shadow-2", "shadow-3" and so on. Errors name
// flags where a file's would name fields.
func Quick(o QuickOptions) (*Config, error) {
	var errs Errors
	c := &Config{
		Listeners: []Listener{{Name: "web", Address: o.Listen}},
		Backends:  []Backend{quickBackend(&errs, o, "--primary", "primary", o.Primary)},
		Admin:     Admin{Address: o.Admin, Token: o.AdminToken},
		AccessLog: AccessLog{Path: o.AccessLog},
		Workers:   o.Workers,
	}
	if o.TLSCert != "" || o.TLSKey != "" {
		c.Listeners[0].Protocol = "HTTPS"
		c.Listeners[0].TLS = &ListenerTLS{Certificates: []Certificate{{Cert: o.TLSCert, Key: o.TLSKey}}}
	}
	if o.Record != "" {
		c.Record = &Record{Directory: o.Record}
	}
	rule := Rule{Backends: []BackendRef{{Name: "primary"}}}
	shadows := o.Shadows
	if o.Shadow != "" {
		shadows = append([]string{o.Shadow}, shadows...)
	}
	if len(shadows) == 0 {
		const message, hint = "is about copies, and nobody gets any", "name who does by --shadow, or leave it out"
		if o.Percent != nil {
			errs = append(errs, FieldError{Path: "--percent", Message: message, Hint: hint})
		}
		if o.ShadowWrites {
			errs = append(errs, FieldError{Path: "--shadow-writes", Message: message, Hint: hint})
		}
	}
	for i, shadow := range shadows {
		name := "shadow"
		if i > 0 {
			name = fmt.Sprintf("shadow-%d", i+1)
		}
		c.Backends = append(c.Backends, quickBackend(&errs, o, "--shadow", name, shadow))
		rule.Mirrors = append(rule.Mirrors, quickMirror(o, name))
	}
	c.Routes = []Route{{Name: "default", Rules: []Rule{rule}}}
	errs = append(errs, flagged(finish(c, newFailures(nil, nil)), errs)...)
	if err := errs.err(); err != nil {
		return nil, err
	}
	return c, nil
}

func quickMirror(o QuickOptions, backend string) Mirror {
	m := Mirror{Backend: backend, Writes: WritesSkip}
	if o.ShadowWrites {
		m.Writes = WritesCopy
	}
	if o.Percent != nil {
		percent := *o.Percent
		m.Percent = &percent
	}
	return m
}

// quickBackend reads the address of one backend. It always has one endpoint, so
// that a problem is reported once.
func quickBackend(errs *Errors, o QuickOptions, flag, name, address string) Backend {
	endpoint, err := endpointOf(address)
	if err != nil {
		*errs = append(*errs, FieldError{Path: flag, Message: err.message, Hint: err.hint})
	}
	b := Backend{Name: name, Endpoints: []string{endpoint}}
	if strings.HasPrefix(address, "https://") {
		b.TLS = &BackendTLS{CA: o.CA}
	}
	return b
}

// endpointOf is the host:port of http://host[:port], https://host[:port] or
// host:port.
func endpointOf(address string) (string, *textError) {
	if address == "" {
		return "", textErrorf("give it an address like http://127.0.0.1:9000", "is missing")
	}
	if !strings.Contains(address, "://") {
		return address, checkEndpoint(address)
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "", textErrorf("write it like http://127.0.0.1:9000", "%q is not a URL", abridged(address))
	case u.Scheme != "http" && u.Scheme != "https":
		return "", textErrorf("write it like http://127.0.0.1:9000", "%s is not a protocol of a backend", u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return "", textErrorf("leave the rest out; a file can rewrite paths", "%q is more than a host and a port", abridged(address))
	}
	endpoint := hostPort(u)
	return endpoint, checkEndpoint(endpoint)
}

// flags says which flag sets a field of the quick start's Config.
var flags = []struct{ path, flag string }{
	{"listeners[0].tls.certificates[0].cert", "--tls-cert"},
	{"listeners[0].tls.certificates[0].key", "--tls-key"},
	{"listeners[0]", "--listen"},
	{"backends[0].tls.ca", "--backend-ca"},
	{"backends[0]", "--primary"},
	{"backends[", "--shadow"},
	{"routes[0].rules[0].mirrors", "--percent"},
	{"admin.token", "--admin-token"},
	{"admin", "--admin"},
	{"accessLog", "--access-log"},
	{"workers", "--workers"},
}

// flagged renames the fields of errs to the flags that set them, leaving out
// what was already said of a flag, once per mirror.
func flagged(errs, already Errors) Errors {
	said := map[string]bool{}
	for _, e := range already {
		said[e.Path] = true
	}
	var kept Errors
	for _, e := range errs {
		for _, f := range flags {
			if strings.HasPrefix(e.Path, f.path) {
				e.Path = f.flag
				break
			}
		}
		if !said[e.Path] {
			kept = append(kept, e)
		}
		said[e.Path] = true
	}
	return kept
}
