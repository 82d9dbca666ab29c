package admin

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed" // the description of the API
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// endpoint is one path that the server answers.
type endpoint struct {
	path       string // ends in {id} if the rest of it is the name of something
	method     string // empty = GET
	summary    string
	open       bool // needs no token: says nothing but yes or no
	answer     http.HandlerFunc
	parameters []parameter // that may be in the query; others are refused
	schema     any         // zero value of what it answers in JSON; nil = not JSON
}

// parameter is of a query.
type parameter struct{ name, doc string }

// placeholder ends a path that is one for each of many things.
const placeholder = "{id}"

//go:embed openapi.json
var openAPI []byte

// list is every endpoint but pprof's, in the order in which / shows them.
func (s *Server) list() []*endpoint {
	list := []*endpoint{
		{path: "/", summary: "This list.", answer: s.index},
		{path: "/healthz", summary: "200 while the process runs.", open: true, answer: s.healthz},
		{path: "/readyz", summary: "200 while new requests are taken, else 503 with the reason.", open: true, answer: s.readyz},
		{path: "/metrics", summary: "Metrics for Prometheus.", answer: s.metrics},
		{path: "/api/v1/status", summary: "Routes, mirrors, endpoints and their counts.", answer: s.status, schema: Status{}},
		{path: "/api/v1/config", summary: "The configuration in force, secrets redacted.", answer: s.config, schema: Config{}},
	}
	list = append(list, s.pairEndpoints()...)
	return append(list, &endpoint{path: "/api/v1/openapi.json", summary: "This API, described for machines.", answer: s.openAPI})
}

func (s *Server) endpoints() map[string]*endpoint {
	routes := map[string]*endpoint{}
	for _, e := range s.list() {
		routes[e.path] = e
	}
	return routes
}

// ServeHTTP implements http.Handler. Its checks are, in order: the name in
// Host, the path, the method, who sends it, the token, the parameters.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if s.loopback && !local(r.Host) {
		fail(w, http.StatusMisdirectedRequest, fmt.Sprintf("the admin server does not answer to the name %q", r.Host),
			"use 127.0.0.1 or localhost: other names are refused so that web pages cannot reach this server through them")
		return
	}
	e, id := s.find(r.URL.Path)
	switch {
	case e == nil && strings.HasPrefix(r.URL.Path, pprofPrefix):
		fail(w, http.StatusNotFound, "profiling is off", "start with --pprof, or set admin.pprof: true")
	case e == nil:
		fail(w, http.StatusNotFound, "there is nothing at "+r.URL.Path, "GET / lists what there is")
	case !e.allows(r.Method):
		h.Set("Allow", e.allowed())
		fail(w, http.StatusMethodNotAllowed, r.Method+" is not possible here", "use "+cmp.Or(e.method, http.MethodGet))
	case s.sameOrigin.Check(r) != nil:
		fail(w, http.StatusForbidden, "a web page from elsewhere must not change anything here", "use a program such as curl")
	case !e.open && !s.authorized(r):
		h.Set("WWW-Authenticate", `Bearer realm="understudy"`)
		fail(w, http.StatusUnauthorized, "a token is needed", "send the header Authorization: Bearer <admin.token>")
	case e.unknown(r) != "":
		fail(w, http.StatusBadRequest, fmt.Sprintf("there is no parameter %q here", e.unknown(r)), "/api/v1/openapi.json lists them")
	default:
		r.SetPathValue("id", id)
		e.answer(w, r)
	}
}

func (e *endpoint) allows(method string) bool {
	if e.method != "" {
		return method == e.method
	}
	return method == http.MethodGet || method == http.MethodHead
}

func (e *endpoint) allowed() string {
	if e.method != "" {
		return e.method
	}
	return "GET, HEAD"
}

// unknown is a parameter in the query that says nothing here: a misspelt one
// would otherwise be taken for none. What is outside of the API ignores them.
func (e *endpoint) unknown(r *http.Request) string {
	if !strings.HasPrefix(e.path, "/api/") {
		return ""
	}
	for name := range r.URL.Query() {
		if !slices.ContainsFunc(e.parameters, func(p parameter) bool { return p.name == name }) {
			return name
		}
	}
	return ""
}

const pprofPrefix = "/debug/pprof/"

// find is the endpoint at path, and the name of what is asked of it. A name is
// all of the rest: some have slashes.
func (s *Server) find(path string) (found *endpoint, id string) {
	name, ok := strings.CutPrefix(path, pprofPrefix)
	switch {
	case !ok:
		return s.named(path)
	case !s.profiling():
		return nil, ""
	}
	answer := pprof.Index // the list, and profiles by their name
	switch name {
	case "cmdline":
		answer = pprof.Cmdline
	case "profile":
		answer = pprof.Profile
	case "symbol":
		answer = pprof.Symbol
	case "trace":
		answer = pprof.Trace
	}
	return &endpoint{path: pprofPrefix, answer: answer}, ""
}

func (s *Server) named(path string) (found *endpoint, id string) {
	if e := s.routes[path]; e != nil && !strings.HasSuffix(path, placeholder) {
		return e, ""
	}
	for pattern, e := range s.routes {
		prefix, ok := strings.CutSuffix(pattern, placeholder)
		if id, under := strings.CutPrefix(path, prefix); ok && under && id != "" {
			return e, id
		}
	}
	return nil, ""
}

func (s *Server) profiling() bool { return s.options.Pprof || s.proxy.Config().Admin.Pprof }

// authorized compares digests, so that neither the time nor the length of the
// comparison tells anything about the token.
func (s *Server) authorized(r *http.Request) bool {
	token := s.proxy.Config().Admin.Token
	if token == "" {
		// A token that was removed by a reload opens nothing: only loopback
		// was ever served without one.
		return s.loopback
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	want, got := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(strings.TrimSpace(given)))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// local says whether a Host names this machine itself: an address, which no
// foreign DNS can choose, or localhost.
func local(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) { text(w, "ok\n") }

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.proxy.Ready():
		text(w, "ready\n")
	case s.snapshot().Draining:
		fail(w, http.StatusServiceUnavailable, "draining", "the proxy finishes what it has and takes nothing new")
	default:
		fail(w, http.StatusServiceUnavailable, "starting", "the proxy does not serve yet")
	}
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) { s.scrape.ServeHTTP(w, r) }

func (s *Server) metricsHandler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.options.Log.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError, // most of a scrape is better than none
		MaxRequestsInFlight: 8,
	})
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, NewStatus(s.snapshot(), s.proxy.Ready()))
}

// Config is what GET /api/v1/config answers.
type Config struct {
	Version string          `json:"version" doc:"Version of the configuration in force."`
	Config  json.RawMessage `json:"config" doc:"The configuration with every default written out, in the form of the configuration file."`
}

func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	c := s.proxy.Config()
	writeJSON(w, http.StatusOK, Config{Version: c.Version, Config: c.JSON()})
}

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	// What can be wrong now is the client's connection, which is the client's.
	_, _ = w.Write(openAPI)
}

var page = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>understudy</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}td{padding:.2rem 1rem .2rem 0;vertical-align:top}</style>
<h1>understudy</h1>
<table>{{range .}}
<tr><td>{{if .Linked}}<a href="{{.Path}}"><code>{{.Path}}</code></a>{{else}}<code>{{.Path}}</code>{{end}}<td>{{.Summary}}{{end}}
</table>
</html>
`))

type entry struct {
	Path, Summary string
	Linked        bool // a browser can go there
}

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	var entries []entry
	for _, e := range s.list() {
		linked := e.method == "" && !strings.HasSuffix(e.path, placeholder)
		entries = append(entries, entry{strings.TrimPrefix(e.method+" "+e.path, " "), e.summary, linked})
	}
	if s.profiling() {
		entries = append(entries, entry{pprofPrefix, "Profiles of the process.", true})
	}
	w.Header().Add("Vary", "Accept")
	if acceptsHTML(r) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		if err := page.Execute(w, entries); err != nil {
			s.options.Log.Debug("admin page was not sent", slog.Any("error", err))
		}
		return
	}
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%-26s %s\n", e.Path, e.Summary)
	}
	text(w, b.String())
}

// acceptsHTML is true for browsers, which name text/html, and not for */*.
func acceptsHTML(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Accept"), func(v string) bool { return strings.Contains(v, "text/html") })
}

// Failure is the body of every answer that is not a success.
type Failure struct {
	Error string `json:"error" doc:"What is wrong."`
	Hint  string `json:"hint,omitempty" doc:"What to do about it."`
}

func fail(w http.ResponseWriter, status int, message, hint string) {
	writeJSON(w, status, Failure{Error: message, Hint: hint})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	// What can be wrong now is the client's connection, which is the client's.
	_ = e.Encode(v)
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, s)
}
