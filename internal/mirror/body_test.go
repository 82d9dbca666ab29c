package mirror

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a shadow gets of bodies, by framing and limit. Parts are sent one by one.
func TestBodyOfTheCopy(t *testing.T) {
	const (
		known   = "POST /up HTTP/1.1\nHost: a\nContent-Length: 11"
		chunked = "POST /up HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTE: trailers"
		mark    = "x-understudy-copy: v2\n"
	)
	two := []string{"hello ", "world"}
	for _, c := range []struct {
		name, body, head string
		parts            []string
		trailer          string
		want             string // "" = nothing whole
		fate             string
	}{
		{
			"a length", "", known, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 11\n\nhello world", "completed",
		},
		{
			"a length at the limit", "{limit: 11}", known, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 11\n\nhello world", "completed",
		},
		{"a length over the limit", "{limit: 10}", known, two, "", "", "body_limit"},
		{
			"a length over the limit, cut off", "{limit: 8, overLimit: truncate}", known, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 8\nx-understudy-body: truncated; length=11\n\nhello wo", "completed",
		},
		{
			"a length over the limit, cut off between parts", "{limit: 6, overLimit: truncate}", known, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 6\nx-understudy-body: truncated; length=11\n\nhello ", "completed",
		},
		{
			"a length over the limit, left out", "{limit: 8, overLimit: headers}", known, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 0\nx-understudy-body: omitted; length=11\n\n", "completed",
		},
		{
			"no limit", "{limit: none}", known, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 11\n\nhello world", "completed",
		},
		{
			"an old client", "", "POST /up HTTP/1.0\nHost: a\nContent-Length: 11", two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 11\n\nhello world", "completed",
		},
		{
			"a length of nothing", "", "POST /up HTTP/1.1\nHost: a\nContent-Length: 0", nil, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 0\n\n", "completed",
		},
		{
			"no body", "{limit: 1}", "POST /up HTTP/1.1\nHost: a", nil, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "\n", "completed",
		},

		{
			"chunks", "", chunked, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Transfer-Encoding: chunked\nConnection: TE\nTE: trailers\n\n6\nhello \n5\nworld\n0\n\n", "completed",
		},
		{
			"chunks and a trailer", "", chunked, two, "X-Sum: 7\r\n",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Transfer-Encoding: chunked\nConnection: TE\nTE: trailers\n\n6\nhello \n5\nworld\n0\nX-Sum: 7\n\n", "completed",
		},
		{
			"no chunks", "{limit: 1}", chunked, nil, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Transfer-Encoding: chunked\nConnection: TE\nTE: trailers\n\n0\n\n", "completed",
		},
		{
			"chunks at the limit", "{limit: 11}", chunked, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Transfer-Encoding: chunked\nConnection: TE\nTE: trailers\n\n6\nhello \n5\nworld\n0\n\n", "completed",
		},
		{"chunks over the limit", "{limit: 10}", chunked, two, "", "", "body_limit"},
		{
			"chunks over the limit, cut off", "{limit: 8, overLimit: truncate}", chunked, two, "X-Sum: 7\r\n",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Transfer-Encoding: chunked\nConnection: TE\nTE: trailers\n\n6\nhello \n2\nwo\n0\nx-understudy-body: truncated\n\n", "completed",
		},
		{
			"chunks over the limit, cut off between parts", "{limit: 6, overLimit: truncate}", chunked, two, "",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Transfer-Encoding: chunked\nConnection: TE\nTE: trailers\n\n6\nhello \n0\nx-understudy-body: truncated\n\n", "completed",
		},
		{
			"chunks over the limit, left out", "{limit: 8, overLimit: headers}", chunked, append(two, "!"), "X-Sum: 7\r\n",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Content-Length: 0\nConnection: TE\nTE: trailers\nx-understudy-body: omitted\n\n", "completed",
		},
		{
			"chunks that might have been over the limit", "{limit: 11, overLimit: headers}", chunked, two, "X-Sum: 7\r\n",
			"POST /up HTTP/1.1\nHost: a\n" + mark + "Transfer-Encoding: chunked\nConnection: TE\nTE: trailers\n\n6\nhello \n5\nworld\n0\nX-Sum: 7\n\n", "completed",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			drivers(t, func(s *stage) {
				address, got := s.polite()
				lines := "writes: copy"
				if c.body != "" {
					lines += ", body: " + c.body
				}
				p := s.mirror("v2", lines, address)
				copied := s.offer(p, c.head)
				s.body(copied, c.parts...)
				s.finish(copied, c.trailer)
				s.one(p, c.fate)
				if c.want == "" {
					if len(got) > 0 {
						t.Errorf("the shadow got %q, want nothing whole", <-got)
					}
					return
				}
				if diff := cmp.Diff(c.want, await(t, got, "the copy")); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A copy does not wait for its end before it is sent.
func TestBodyStreams(t *testing.T) {
	drivers(t, func(s *stage) {
		part := make(chan struct{})
		p := s.mirror("v2", "writes: copy", s.shadow(func(_ int, v *visit) {
			for line := ""; line != "hello\r\n"; {
				line, _ = v.r.ReadString('\n')
			}
			close(part)
			v.request() // the rest, more or less
			v.answer("ok")
			v.gone()
		}))
		c := s.offer(p, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked")
		s.body(c, "hello")
		await(s.T, part, "the first part, while the request goes on")
		if b := s.books(p); b.InFlight != 1 {
			s.Errorf("%d copies in flight, want 1", b.InFlight)
		}
		s.finish(c, "")
		s.one(p, "completed")
	})
}

// A body that lies in a block of the loop is not copied, but is charged as the
// block that it keeps from being used.
func TestLargeBodyIsSharedAndCharged(t *testing.T) {
	drivers(t, func(s *stage) {
		read := make(chan struct{})
		p := s.mirror("v2", "writes: copy", s.shadow(func(_ int, v *visit) {
			<-read
			if text := v.request(); !strings.HasSuffix(text, strings.Repeat("0123456789abcdef", 1<<16)) {
				t := s.T
				t.Errorf("the shadow got %d bytes that are not the body", len(text))
			}
			v.answer("ok")
			v.gone()
		}))
		block := s.pool.Get(1 << 16)
		copy(block.Space(), strings.Repeat("0123456789abcdef", 1<<12))
		c := s.offer(p, "POST / HTTP/1.1\nHost: a\nContent-Length: 1048576")
		for range 16 {
			s.on(func() {
				before := c.Copy().charged
				c.Copy().Body(block.Space()[:1<<16:1<<16], block)
				if grown := c.Copy().charged - before; grown != block.Cap() {
					s.Errorf("64 KiB are charged as %d bytes, want the block's %d", grown, block.Cap())
				}
			})
		}
		s.finish(c, "")
		close(read)
		s.one(p, "completed")
		s.on(block.Release)
	})
}
