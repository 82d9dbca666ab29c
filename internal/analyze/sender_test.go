package analyze

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestAQuestionIsPutByHTTP(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 1)
	body := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- r
		body <- string(text)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(203)
		if _, err := io.WriteString(w, "0123456789"); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	cfg := parse(t, "", "")
	cfg.Backends[1].Endpoints = []string{strings.TrimPrefix(server.URL, "http://")}
	cfg.Capture.Body = 4
	s := newSender()
	s.apply(cfg)
	defer s.close()
	q := &Question{
		Route: "r", Mirror: "b", Backend: "b", Live: &traffic.Exchange{Host: "shop", Client: netip.MustParseAddr("192.0.2.7")},
		Request: &traffic.Message{Head: []byte("GET /a%2Fb?x=%20y HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer s\r\n"), Body: []byte("hello"), Length: 5, Whole: true},
	}
	o := s.Ask(t.Context(), q)
	if o == nil || o.Error != "" {
		t.Fatalf("got %+v", o)
	}
	r := <-got
	if r.RequestURI != "/a%2Fb?x=%20y" || r.Host != "shop" || r.Header.Get("Authorization") != "Bearer s" || r.Header.Get("X-Understudy-Copy") != "b" ||
		r.Header.Get("X-Forwarded-For") != "192.0.2.7" || len(r.Header.Get("X-Request-Id")) != 32 || r.Header.Get("User-Agent") != "" {
		t.Errorf("the shadow got %s to %s with %v", r.RequestURI, r.Host, r.Header)
	}
	if text := <-body; text != "hello" {
		t.Errorf("the shadow got the body %q", text)
	}
	a := o.Answer
	if o.Status != 203 || string(a.Body) != "0123" || a.Length != 10 || a.Hash == 0 || !a.Whole || !a.Cut() {
		t.Errorf("status %d, answer %+v", o.Status, a)
	}
	if head := string(a.Head); !strings.HasPrefix(head, "HTTP/1.1 203 ") || !strings.Contains(head, "X-Answer: yes\r\n") || !strings.Contains(head, "Content-Length: 10\r\n") {
		t.Errorf("head %q", head)
	}
	if o.First == 0 || o.First < o.Start || o.End < o.First {
		t.Errorf("start %v, first byte %v, end %v", o.Start, o.First, o.End)
	}
}

func TestAQuestionToNobodyIsAnsweredWithAFailure(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	address := strings.TrimPrefix(server.URL, "http://")
	server.Close()
	cfg := parse(t, "", "")
	cfg.Backends[1].Endpoints = []string{address}
	s := newSender()
	s.apply(cfg)
	defer s.close()
	q := &Question{Route: "r", Mirror: "b", Backend: "b", Live: &traffic.Exchange{}, Request: &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n")}}
	if o := s.Ask(t.Context(), q); o == nil || o.Fate != traffic.Failed || o.Source != traffic.Shadow || o.Answer != nil {
		t.Errorf("got %+v", o)
	}
	q.Mirror = "gone"
	if o := s.Ask(t.Context(), q); o != nil {
		t.Errorf("of a mirror that is gone: %+v", o)
	}
}
