package http3

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/understudy-proxy/understudy/internal/http1"
)

// download is an answer on its way from the loop.
type download struct {
	line   *line
	writer http.ResponseWriter
	head   bool // the request was HEAD
	text   []byte
	parser http1.Response
	body   http1.Body
	begun  bool // the final head was sent
}

// heads bound what a primary may answer: its own bounds were kept before.
var heads = http1.Limits{Head: 1 << 20, Fields: 10000}

var errSwitched = errors.New("the primary switched protocols, which was not asked for")

// run sends the answer on. An error says that it is not whole.
func (d *download) run() error {
	defer d.line.free()
	for !d.begun || !d.body.Done() {
		b, err := d.line.take()
		if err != nil {
			return fmt.Errorf("the answer is cut off: %w", err)
		}
		err = d.use(b.bytes())
		blocks.Put(b)
		if err != nil {
			return err
		}
	}
	d.trailer()
	return nil
}

// use sends on what p holds of the answer.
func (d *download) use(p []byte) error {
	for len(p) > 0 && !d.begun {
		var err error
		if p, err = d.heads(p); err != nil {
			return err
		}
	}
	for len(p) > 0 && !d.body.Done() {
		data, n, bad := d.body.Decode(p)
		if bad != nil {
			return bad
		}
		if len(data) > 0 {
			if _, err := d.writer.Write(data); err != nil {
				return err
			}
		}
		p = p[n:]
	}
	return nil
}

// heads sends on one head, and returns what follows it; nothing, if it is not
// whole yet.
func (d *download) heads(p []byte) ([]byte, error) {
	before := len(d.text)
	d.text = append(d.text, p...)
	n, bad := d.parser.Parse(d.text, &heads)
	switch {
	case bad != nil:
		return nil, bad
	case n == 0:
		return nil, nil
	case d.parser.Status() == http.StatusSwitchingProtocols:
		return nil, errSwitched
	}
	h := d.writer.Header()
	clear(h)
	for i := range d.parser.NumFields() {
		name, value, _ := d.parser.Field(i)
		// In lower case a name means nothing to the writer, and goes out as it is.
		if key := strings.ToLower(string(name)); !connection[key] {
			h[key] = append(h[key], string(value))
		}
	}
	if !d.parser.Interim() {
		h["Date"] = nil // the primary's, or none
		d.begun = true
		d.body = d.parser.Body(d.head)
	}
	d.writer.WriteHeader(d.parser.Status())
	if d.begun {
		if err := http.NewResponseController(d.writer).Flush(); err != nil {
			return nil, err
		}
	} else {
		d.parser.Reset()
	}
	d.text = d.text[:0]
	return p[n-before:], nil
}

// trailer has what followed the body go out when the stream ends.
func (d *download) trailer() {
	h := d.writer.Header()
	for line := range bytes.Lines(d.body.Trailer()) {
		name, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\r\n")), []byte(": "))
		key := http.TrailerPrefix + http.CanonicalHeaderKey(string(name))
		h[key] = append(h[key], string(value))
	}
}
