package analyze

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Bounds on the traits of requests.
const (
	mostTraits   = 256 // texts that are counted for a cluster, and for an endpoint
	traitsOfOne  = 48  // of one request
	longestTrait = 64  // bytes of a value: longer ones are names of one thing
	traitBody    = 8 << 10
)

// traitsOf returns what there is to say about a redacted request that others may
// share: attribute=value, as query.locale=tr.
func traitsOf(x *traffic.Exchange, endpoint string) []string {
	t := traits{all: make([]string, 0, 16)}
	t.add("method", x.Method)
	t.path(x.Path, endpoint)
	t.query("query.", x.Query)
	if x.Request != nil {
		kind := t.fields(x.Request.Head)
		t.body(x.Request.Body, kind)
	}
	return t.all
}

type traits struct{ all []string }

func (t *traits) add(attribute, value string) {
	if len(t.all) < traitsOfOne && len(value) <= longestTrait && len(attribute) <= longestTrait && !secret(value) {
		t.all = append(t.all, attribute+"="+value)
	}
}

// secret says that redaction has put a token in a value's place.
func secret(value string) bool { return strings.Contains(value, redactedMark) }

// path adds what stands where the endpoint's template has a placeholder.
func (t *traits) path(path, endpoint string) {
	_, template, _ := strings.Cut(endpoint, " ")
	parts := strings.Split(path, "/")
	for i, p := range strings.Split(template, "/") {
		if strings.HasPrefix(p, "{") && i < len(parts) {
			t.add("path."+strconv.Itoa(i), parts[i])
		}
	}
}

// query adds parameters as they are written in a URL.
func (t *traits) query(prefix, raw string) {
	for len(raw) > 0 && len(t.all) < traitsOfOne {
		var one string
		one, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(one, "=")
		n, err := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err == nil && err2 == nil && n != "" {
			t.add(prefix+n, v)
		}
	}
}

// telling says that a header's value may have to do with an answer.
func telling(name string) bool {
	switch name {
	case "content-length", "connection", "authorization", "proxy-authorization", "date", "via", "forwarded", "if-modified-since", "if-none-match", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade":
		return false
	}
	return !perRequest([]byte(name)) && !strings.HasPrefix(name, "sec-")
}

// fields adds headers and the names of cookies, and returns the content type.
func (t *traits) fields(head []byte) (kind string) {
	_, head, _ = bytes.Cut(head, []byte("\n"))
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\n"))
		n, v, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		name, value := strings.ToLower(string(n)), string(bytes.TrimSpace(v))
		switch {
		case name == "cookie":
			for one := range strings.SplitSeq(value, ";") {
				cookie, _, _ := strings.Cut(strings.TrimSpace(one), "=")
				t.add("cookie", cookie)
			}
		case telling(name):
			t.add("header."+name, value)
		}
		if name == "content-type" {
			kind = value
		}
	}
	return kind
}

// body adds the fields of a small JSON object, of it and of the objects in it, or
// of a form.
func (t *traits) body(body []byte, kind string) {
	switch {
	case len(body) == 0 || len(body) > traitBody:
	case strings.HasPrefix(kind, "application/x-www-form-urlencoded"):
		t.query("body.", string(body))
	case body[0] == '{':
		var object map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if d.Decode(&object) == nil {
			t.object("body.", object, 2)
		}
	}
}

func (t *traits) object(prefix string, object map[string]any, depth int) {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch v := object[name].(type) {
		case string:
			t.add(prefix+name, v)
		case json.Number:
			t.add(prefix+name, v.String())
		case bool:
			t.add(prefix+name, strconv.FormatBool(v))
		case map[string]any:
			if depth > 1 {
				t.object(prefix+name+".", v, depth-1)
			}
		}
	}
}

// predictors are the traits that go with a cluster: most of its requests have
// them, and few others of the endpoint. n is how many requests inside has seen.
func predictors(inside *frequent, n int64, e *endpoint) []Predictor {
	const most = 5
	found := []Predictor{}
	if n < 3 || e == nil || e.Plain == 0 {
		return found
	}
	for i := range inside.heap {
		t := &inside.heap[i]
		in := float64(t.Count-t.Excess) / float64(n)
		out := float64(e.Traits.atMost(t.Text)) / float64(e.Plain)
		if in < 0.5 || in < 2*out {
			continue
		}
		attribute, value, _ := strings.Cut(t.Text, "=")
		found = append(found, Predictor{Attribute: attribute, Value: value, Inside: in, Outside: min(out, 1)})
	}
	slices.SortFunc(found, func(a, b Predictor) int {
		gain := func(p *Predictor) float64 { return p.Inside - p.Outside }
		if d := gain(&b) - gain(&a); d != 0 {
			return sign(d)
		}
		return strings.Compare(a.Attribute+"="+a.Value, b.Attribute+"="+b.Value)
	})
	return found[:min(len(found), most)]
}

func sign(d float64) int {
	if d < 0 {
		return -1
	}
	return 1
}
