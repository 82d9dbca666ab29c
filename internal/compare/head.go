package compare

import (
	"bytes"
	"slices"
	"strconv"
	"unicode"

	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// framing are the fields that say how a message is sent and not what it is.
var framing = []string{
	"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length",
}

// volatile are the fields that must be there, and whose values are made anew for
// every answer, or say who gave it.
var volatile = map[string]bool{
	"age": true, "b3": true, "cf-cache-status": true, "cf-ray": true, "date": true, "expires": true, "fly-request-id": true,
	"nel": true, "ratelimit-remaining": true, "ratelimit-reset": true, "report-to": true, "request-id": true, "server": true,
	"server-timing": true, "traceparent": true, "traceresponse": true, "tracestate": true, "via": true, "x-amz-cf-id": true,
	"x-amz-cf-pop": true, "x-amz-id-2": true, "x-amz-request-id": true, "x-amzn-requestid": true, "x-amzn-trace-id": true,
	"x-b3-parentspanid": true, "x-b3-sampled": true, "x-b3-spanid": true, "x-b3-traceid": true, "x-cache": true,
	"x-cache-hits": true, "x-cloud-trace-context": true, "x-correlation-id": true, "x-envoy-upstream-service-time": true,
	"x-github-request-id": true, "x-kong-proxy-latency": true, "x-kong-request-id": true, "x-kong-upstream-latency": true,
	"x-powered-by": true, "x-ratelimit-remaining": true, "x-ratelimit-reset": true, "x-request-id": true, "x-response-time": true,
	"x-runtime": true, "x-served-by": true, "x-timer": true, "x-trace-id": true, "x-vercel-id": true,
}

// unordered are lists without an order, in which the case of letters says nothing:
// servers put them together as they like.
var unordered = map[string]bool{
	"access-control-allow-headers": true, "access-control-allow-methods": true, "access-control-expose-headers": true, "allow": true,
	"cache-control": true, "vary": true,
}

// grpcFields are sent in the head if there are no messages: they are compared as
// if they were trailers always.
var grpcFields = []string{"grpc-status", "grpc-message", "grpc-status-details-bin"}

// bodyless says that an answer has no body, whatever its head says.
func bodyless(method string, status int) bool {
	return method == "HEAD" || status == 204 || status == 304
}

// field is one field of a head, its name in lower case.
type field struct{ name, value span }

// answer adds what is compared of an answer, without its body, to the open object.
func (c *Comparer) answer(t *tree, x *traffic.Exchange, o *traffic.Outcome, statusOnly bool) {
	at := t.begin()
	status := t.keep(strconv.AppendInt(nil, int64(o.Status), 10))
	t.scalar(number, status)
	t.named(t.keepString("status"), at)

	c.head, c.trailer = c.head[:0], c.trailer[:0]
	for name, value := range content.Fields(o.Answer.Head) {
		c.head = append(c.head, t.keepField(name, value))
	}
	for name, value := range content.Lines(o.Answer.Trailer) {
		c.trailer = append(c.trailer, t.keepField(name, value))
	}
	t.sortFields(c.head)
	t.sortFields(c.trailer)
	at = t.begin()
	if !statusOnly {
		c.header(t, c.head, x.Method)
	}
	t.end(at, object, fields)
	t.named(t.keepString("header"), at)

	at = t.begin()
	if status := grpcStatus(o); status != "" {
		t.member("grpc-status", string(status))
	}
	if !statusOnly {
		for _, f := range append(c.head, c.trailer...) {
			if name := string(t.in(f.name)); name != "grpc-status" && slices.Contains(grpcFields, name) {
				t.member(name, string(t.in(f.value)))
			}
		}
		c.header(t, c.trailer, "")
	}
	t.end(at, object, fields)
	t.named(t.keepString("trailer"), at)
}

// member adds a text with a name to the open object.
func (t *tree) member(name, value string) {
	n, v := t.keepString(name), t.keepString(value)
	at := t.begin()
	t.scalar(text, v)
	t.named(n, at)
}

// keepField keeps a field in a tree.
func (t *tree) keepField(name, value []byte) field {
	f := field{t.keep(name), t.keep(value)}
	lower(t.in(f.name))
	return f
}

// sortFields sorts fields by name; those of one name stay in order.
func (t *tree) sortFields(all []field) {
	slices.SortStableFunc(all, func(a, b field) int { return bytes.Compare(t.in(a.name), t.in(b.name)) })
}

func lower(b []byte) {
	for i, c := range b {
		if c-'A' < 26 {
			b[i] = c | 0x20
		}
	}
}

// header adds fields to the open object. Those of one name are one value, as RFC
// 9110 joins them.
func (c *Comparer) header(t *tree, all []field, method string) {
	var hops []byte // fields that are for the next hop only, by the head's own word
	for _, f := range all {
		if string(t.in(f.name)) == "connection" {
			hops = append(append(hops, ','), t.in(f.value)...)
		}
	}
	lower(hops)
	for i := 0; i < len(all); {
		f := all[i]
		first := i
		name := t.in(f.name)
		for i < len(all) && bytes.Equal(t.in(all[i].name), name) {
			i++
		}
		switch {
		case string(name) == "content-length" && method == "HEAD":
		case slices.Contains(framing, string(name)), slices.Contains(grpcFields, string(name)), hops != nil && listed(hops, name):
			continue
		}
		at := t.begin()
		switch {
		case string(name) == "set-cookie":
			t.cookies(all[first:i])
		case string(name) == content.Unpacked:
			f.name = t.keepString("content-encoding")
			t.scalar(text, f.value)
		case volatile[string(name)] && !c.rules.named[string(name)]:
			t.scalar(present, span{})
		case string(name) == "content-type":
			t.scalar(text, t.keep(mediaType(t.in(f.value))))
		case unordered[string(name)]:
			t.scalar(text, t.list(all[first:i]))
		case i-first == 1:
			t.scalar(text, f.value)
		default:
			joined := t.keep(t.in(f.value))
			for _, more := range all[first+1 : i] {
				t.keepString(", ")
				t.keep(t.in(more.value))
			}
			joined.size = uint32(len(t.bytes)) - joined.at
			t.scalar(text, joined)
		}
		t.named(f.name, at)
	}
}

// list keeps the elements of lists, sorted, as one list.
func (t *tree) list(all []field) span {
	if v := t.in(all[0].value); len(all) == 1 && bytes.IndexByte(v, ',') < 0 && !bytes.ContainsFunc(v, unicode.IsUpper) {
		return all[0].value
	}
	var items [][]byte
	for _, f := range all {
		for item := range bytes.SplitSeq(bytes.ToLower(t.in(f.value)), []byte{','}) {
			if item = bytes.TrimSpace(item); len(item) > 0 {
				items = append(items, item)
			}
		}
	}
	slices.SortFunc(items, bytes.Compare)
	return t.keep(bytes.Join(items, []byte(", ")))
}

// listed says that a list with commas holds a name.
func listed(list, name []byte) bool {
	for item := range bytes.SplitSeq(list, []byte{','}) {
		if bytes.Equal(bytes.TrimSpace(item), name) {
			return true
		}
	}
	return false
}

// mediaType is a Content-Type without what does not matter: case and spaces, and
// the boundary of parts, which is drawn anew.
func mediaType(v []byte) []byte {
	if bytes.IndexByte(v, ';') < 0 && !bytes.ContainsFunc(v, unicode.IsUpper) {
		return v
	}
	v = bytes.ToLower(v)
	var kept [][]byte
	for part := range bytes.SplitSeq(v, []byte{';'}) {
		part = bytes.TrimSpace(part)
		if len(part) == 0 || bytes.HasPrefix(part, []byte("boundary=")) {
			continue
		}
		if name, value, found := bytes.Cut(part, []byte{'='}); found && len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			part = slices.Concat(name, []byte{'='}, value[1:len(value)-1])
		}
		kept = append(kept, part)
	}
	return bytes.Join(kept, []byte("; "))
}

// cookies adds cookies by their names: each an object of its attributes. Their
// values are nobody's business here.
func (t *tree) cookies(all []field) {
	begun := t.begin()
	for _, f := range all {
		cookie, rest, _ := bytes.Cut(t.in(f.value), []byte{';'})
		name, _, _ := bytes.Cut(cookie, []byte{'='})
		cookieName := t.keep(bytes.TrimSpace(name))
		at := t.begin()
		for attribute := range bytes.SplitSeq(rest, []byte{';'}) {
			name, value, _ := bytes.Cut(bytes.TrimSpace(attribute), []byte{'='})
			if len(name) == 0 {
				continue
			}
			n := t.keep(bytes.ToLower(name))
			inside := t.begin()
			switch string(t.in(n)) {
			case "expires":
				t.scalar(present, span{})
			case "samesite", "domain":
				t.scalar(text, t.keep(bytes.ToLower(value)))
			default:
				t.scalar(text, t.keep(value))
			}
			t.named(n, inside)
		}
		t.end(at, object, fields)
		t.named(cookieName, at)
	}
	t.end(begun, object, fields)
}
