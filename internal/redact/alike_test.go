package redact

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestTokensAreFoundInText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                                    false,
		"nothing secret":                      false,
		"redacted-":                           false,
		"redacted-0123456789a":                false,
		"a redacted-0123456789ab, yes":        true,
		"redacted-redacted-0123456789ab":      true,
		"redacted-number-0123456789ab":        true,
		"redacted-bool-0123456789ab":          true,
		"redacted-body-0123456789ab":          true,
		"redacted-other-0123456789ab":         false,
		"redacted-0123456789aX redacted-body": false,
	} {
		if got := Has([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestAnswersOfDifferentKeysBecomeAlike(t *testing.T) {
	t.Parallel()
	answer := func(card string) *traffic.Message {
		body := `{"name":"x","password":"` + card + `","pin":1234}`
		return &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: sid=" + card + "; Path=/\r\n"),
			Body: []byte(body), Length: int64(len(body)) + 10, Hash: uint64(len(card)), Whole: true}
	}
	exchange := func() *traffic.Exchange {
		return &traffic.Exchange{
			Method: "GET", Path: "/", Request: &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n"), Whole: true},
			Primary: traffic.Outcome{Status: 200, Answer: answer("secret")}, Copies: []traffic.Outcome{{}, {Status: 200, Answer: answer("other")}},
		}
	}
	var all []*traffic.Exchange
	for range 2 {
		r, err := New(config.Redact{})
		if err != nil {
			t.Fatal(err)
		}
		x := exchange()
		r.Exchange(x)
		all = append(all, x)
	}
	if cmp.Equal(all[0].Primary.Answer, all[1].Primary.Answer) {
		t.Fatalf("two keys gave the same tokens: %s", all[0].Primary.Answer.Body)
	}
	for _, x := range all {
		Alike(x)
		if !Has(x.Primary.Answer.Body) || !Has(x.Primary.Answer.Head) {
			t.Errorf("no token is left: %s", x.Primary.Answer.Body)
		}
	}
	if diff := cmp.Diff(all[0].Primary.Answer, all[1].Copies[1].Answer); diff != "" {
		t.Errorf("they still differ:\n%s", diff)
	}
	want := `{"name":"x","password":"redacted-000000000000","pin":"redacted-number-000000000000"}`
	if got := string(all[0].Primary.Answer.Body); got != want {
		t.Errorf("body %s, want %s", got, want)
	}
}
