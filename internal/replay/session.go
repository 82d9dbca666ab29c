package replay

import (
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// SessionKey says which requests belong together: they are sent one after the
// other, in the order of the recording, each when the one before has been
// answered. The zero value tells clients apart by their address and by the
// authorization and cookies that they send.
type SessionKey struct {
	kind sessionKind
	name string // of the header or cookie
}

type sessionKind uint8

const (
	sessionGuess sessionKind = iota
	sessionClient
	sessionHeader
	sessionCookie
	sessionNone
)

// ParseSessionKey reads header:NAME, cookie:NAME, client or none; empty is the
// zero value.
func ParseSessionKey(text string) (SessionKey, error) {
	kind, name, named := strings.Cut(text, ":")
	switch {
	case text == "":
		return SessionKey{}, nil
	case text == "client":
		return SessionKey{kind: sessionClient}, nil
	case text == "none":
		return SessionKey{kind: sessionNone}, nil
	case kind == "header" && named && validName(name):
		return SessionKey{kind: sessionHeader, name: name}, nil
	case kind == "cookie" && named && validName(name):
		return SessionKey{kind: sessionCookie, name: name}, nil
	}
	return SessionKey{}, fmt.Errorf("%q is none of header:NAME, cookie:NAME, client, none", text)
}

// sessionID is a session among those of one replay.
type sessionID uint64

// alone is the session of a request that belongs to none.
const alone sessionID = 0

// of returns the session of an exchange, under a seed of this replay. Without
// the header or cookie that it asks for, a request belongs to no session.
func (k SessionKey) of(x *traffic.Exchange, seed maphash.Seed) sessionID {
	var h maphash.Hash
	h.SetSeed(seed)
	head := x.Request.Head
	switch k.kind {
	case sessionNone:
		return alone
	case sessionHeader:
		value, ok := lookup(head, k.name)
		if !ok {
			return alone
		}
		_, _ = h.Write(value) // never fails, like all writes of a hash
	case sessionCookie:
		value, ok := cookie(head, k.name)
		if !ok {
			return alone
		}
		_, _ = h.WriteString(value)
	case sessionGuess, sessionClient:
		address := x.Client.As16()
		_, _ = h.Write(address[:])
		if k.kind == sessionClient {
			break
		}
		for _, name := range []string{"authorization", "cookie"} {
			_ = h.WriteByte(0) // an authorization is no cookie
			for value := range values(head, name) {
				_, _ = h.Write(value)
				_ = h.WriteByte(';')
			}
		}
	}
	if id := sessionID(h.Sum64()); id != alone {
		return id
	}
	return alone + 1
}

func cookie(head []byte, name string) (string, bool) {
	for line := range values(head, "cookie") { // HTTP/2 may send each by itself
		for pair := range strings.SplitSeq(string(line), ";") {
			if n, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == name {
				return value, true
			}
		}
	}
	return "", false
}
