package analyze

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// shownBody bounds the body of a message in an example.
const shownBody = 16 << 10

// pairOfMessages is an example of a redacted exchange, without what is not known of
// it yet: cluster, class and differences.
func pairOfMessages(x *traffic.Exchange, shadow *traffic.Outcome) *Pair {
	p := &Pair{ID: x.ID, Time: x.Start, Request: shown(x.Request), Primary: shownAnswer(&x.Primary), Shadow: shownAnswer(shadow)}
	return p
}

func shownAnswer(o *traffic.Outcome) Message {
	m := shown(o.Answer)
	m.Millis = float64(firstByte(o)) / float64(time.Millisecond)
	m.Failure = failureOf(o)
	return m
}

// shown is a message as it is shown.
func shown(m *traffic.Message) Message {
	if m == nil {
		return Message{}
	}
	body := m.Body[:min(len(m.Body), shownBody)]
	out := Message{
		Head: strings.ToValidUTF8(string(bytes.ReplaceAll(m.Head, []byte("\r\n"), []byte("\n"))), "\uFFFD"),
		Cut:  m.Cut() || len(body) < len(m.Body), Length: m.Length,
	}
	text := body
	if out.Cut {
		text = trimRune(body)
	}
	if utf8.Valid(text) && bytes.IndexByte(text, 0) < 0 {
		out.Body = string(text)
	} else {
		out.Body, out.Base64 = base64.StdEncoding.EncodeToString(body), true
	}
	if len(m.Trailer) > 0 {
		out.Head += strings.ToValidUTF8(string(bytes.ReplaceAll(m.Trailer, []byte("\r\n"), []byte("\n"))), "\uFFFD")
	}
	return out
}

// trimRune takes away a rune that was cut in two at the end.
func trimRune(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			return b
		}
	}
	return b
}

// failureOf says how a backend failed to answer, empty if it did answer whole.
func failureOf(o *traffic.Outcome) string {
	switch {
	case o.Reason != "":
		return string(o.Reason)
	case o.Answer != nil && !o.Answer.Whole:
		return "cut off"
	case o.Status == 0 && o.Error != "":
		return "no answer"
	}
	return ""
}

// titleOf says in a line what a cluster is about.
func titleOf(class compare.Class, sure []finding, s *sight) string {
	if class == compare.ShadowError || len(sure) == 0 {
		if s.failure != "" {
			return "the shadow failed: " + s.failure
		}
		return fmt.Sprintf("status: %d became %d", s.status[0], s.status[1])
	}
	title := describe(&sure[0])
	others := 0
	for i := range sure[1:] {
		if sure[i+1].Path != sure[0].Path {
			others++
		}
	}
	switch others {
	case 0:
	case 1:
		title += ", and one more"
	default:
		title += fmt.Sprintf(", and %d more", others)
	}
	return title
}

// describe says what a finding is.
func describe(f *finding) string {
	switch {
	case f.broken:
		return f.Path + ": an id stands for two"
	case f.Kind == compare.Missing:
		return f.Path + ": missing"
	case f.Kind == compare.Extra:
		return f.Path + ": added"
	case f.Kind == compare.Type:
		return fmt.Sprintf("%s: %s became %s", f.Path, f.Primary.Type, f.Shadow.Type)
	case f.Kind == compare.Null:
		return fmt.Sprintf("%s: %s became %s", f.Path, f.Primary.Type, f.Shadow.Type)
	case f.Kind == compare.Length:
		return fmt.Sprintf("%s: length %d became %d", f.Path, f.Primary.Size, f.Shadow.Size)
	case f.Kind == compare.Order:
		return f.Path + ": another order"
	case aboutStatus(f.Path):
		return fmt.Sprintf("%s: %s became %s", f.Path, f.Primary.Text, f.Shadow.Text)
	}
	return f.Path + ": another value"
}
