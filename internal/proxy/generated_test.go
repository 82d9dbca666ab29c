package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// exchange is a random, valid request and the answer to it.
type exchange struct {
	id, method string
	request    string // as sent
	answer     string // as sent by a backend
	closes     bool   // the backend closes after it
}

// generator makes exchanges. The same seed makes the same ones.
type generator struct {
	*rand.Rand
	n int
}

func (g *generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

// text returns up to n characters from those.
func (g *generator) text(n int, from string) string {
	b := make([]byte, g.IntN(n+1))
	for i := range b {
		b[i] = from[g.IntN(len(from))]
	}
	return string(b)
}

const (
	nameChars  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!#$%&'*+^`|~"
	valueChars = "abcdefghijklmnopqrstuvwxyz 0123456789\t,;=\"()/<>?@[]{}\\:\x80\xe4\xff"
	pathChars  = "abcdefghijklmnopqrstuvwxyz0123456789/-._~!$&'()*+,;=:@"
)

// fields appends random header fields that mean nothing to a proxy.
func (g *generator) fields(b *strings.Builder, prefix string) {
	for range g.IntN(6) {
		fmt.Fprintf(b, "%s%s:%s%s%s\r\n", prefix, g.text(12, nameChars), g.pick("", " ", "  "), strings.TrimSpace(g.text(40, valueChars)), g.pick("", "", " "))
	}
}

// size returns a length: most are small, some do not fit into one read.
func (g *generator) size() int {
	switch {
	case g.chance(20):
		return 0
	case g.chance(5):
		return 1 + g.IntN(200_000)
	}
	return 1 + g.IntN(3000)
}

// body appends what ends a head, and a body of that length in the framing.
func (g *generator) body(b *strings.Builder, size int, chunked bool) {
	body := strings.Repeat(fmt.Sprintf("%d:%d,", g.n, size), size/3+1)[:size]
	if !chunked {
		fmt.Fprintf(b, "Content-Length: %d\r\n\r\n%s", size, body)
		return
	}
	fmt.Fprintf(b, "%s: chunked\r\n\r\n", g.pick("Transfer-Encoding", "transfer-encoding"))
	for len(body) > 0 {
		n := 1 + g.IntN(min(len(body), 20_000))
		fmt.Fprintf(b, g.pick("%x", "%X", "00%x")+"%s\r\n%s\r\n", n, g.pick("", "", ";a=b", ";a"), body[:n])
		body = body[n:]
	}
	b.WriteString(g.pick("0\r\n", "000\r\n"))
	for range g.IntN(3) {
		fmt.Fprintf(b, "X-T%s: %s\r\n", g.text(4, nameChars), g.text(10, nameChars))
	}
	b.WriteString("\r\n")
}

// next makes an exchange. Only the last on a connection may end it.
func (g *generator) next(last bool) *exchange {
	g.n++
	x := &exchange{id: fmt.Sprintf("id-%d", g.n), method: g.pick("GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FROB")}
	old := last && g.chance(20)
	var b strings.Builder
	target := "/" + g.text(20, pathChars) + g.pick("", "%2F", "%00", "//", "/../")
	if g.chance(40) {
		target += "?" + g.text(20, pathChars+"?%")
	}
	if g.chance(5) && !g.chance(50) {
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.%s\r\n", x.method, target, map[bool]string{true: "0", false: "1"}[old])
	g.fields(&b, "X-A")
	fmt.Fprintf(&b, "Host: %s\r\nX-Request-Id: %s\r\n", g.pick("h", "Shop.example:8080", "[::1]:80"), x.id)
	g.fields(&b, "X-B")
	if last && g.chance(30) {
		b.WriteString("Connection: close\r\n")
	} else if g.chance(10) {
		b.WriteString("Connection: keep-alive\r\n")
	}
	switch {
	case x.method == "POST" || x.method == "PUT" || x.method == "PATCH" || g.chance(10):
		if !old && g.chance(10) {
			b.WriteString("Expect: 100-continue\r\n")
		}
		g.body(&b, g.size(), !old && g.chance(50))
	default:
		b.WriteString("\r\n")
	}
	x.request = b.String()
	x.answer, x.closes = g.reply(x.method, old, last)
	return x
}

// reply makes an answer.
func (g *generator) reply(method string, old, last bool) (raw string, closes bool) {
	var b strings.Builder
	if !old && g.chance(10) {
		b.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
	}
	if !old && g.chance(10) {
		b.WriteString("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
	}
	status := g.pick("200 OK", "200 OK", "200 ", "201 Created", "204 No Content", "304 Not Modified", "404 Not Here", "500 Oh", "299 \xff")
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\n", status)
	g.fields(&b, "X-C")
	g.fields(&b, "Set-Cookie")
	// A backend that closes says so: what it closes without a word may have been
	// pooled and got the next request, which then fails, and rightly so.
	closes = last && g.chance(30)
	untilClose := closes && method != "HEAD" && status[0] == '2' && status[:3] != "204" && g.chance(50)
	if closes && (!untilClose || g.chance(50)) {
		b.WriteString("Connection: close\r\n")
	}
	size, chunked := g.size(), !old && g.chance(40)
	switch {
	case status[:3] == "204" || status[:3] == "304":
		b.WriteString("\r\n")
	case method == "HEAD":
		b.WriteString(g.pick("\r\n", "Content-Length: 77\r\n\r\n"))
	case untilClose:
		b.WriteString("\r\n" + strings.Repeat("until close ", size/10))
	default:
		g.body(&b, size, chunked)
	}
	return b.String(), closes
}
