package cli

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDemoShowsTrafficAndSumsUp(t *testing.T) {
	t.Parallel()
	s, out, errOut := testStreams()
	if code := Main(t.Context(), []string{"demo", "--for", "2500ms", "--rate", "100", "--log-level", "warn"}, s); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	if !regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d live [1-9]\d*, failed 0, .* \| shadow: selected [1-9]`).MatchString(out.String()) {
		t.Errorf("no line with live requests and copies:\n%s", out)
	}
	books := regexp.MustCompile(`copies: (\d+) selected = (\d+) completed \+ (\d+) dropped \+ (\d+) failed \+ (\d+) in flight\n`).FindStringSubmatch(out.String())
	if books == nil {
		t.Fatalf("no summary:\n%s", out)
	}
	var n [6]int
	for i := 1; i < len(n); i++ {
		n[i], _ = strconv.Atoi(books[i])
	}
	if n[1] == 0 || n[1] != n[2]+n[3]+n[4]+n[5] || n[5] != 0 {
		t.Errorf("the books do not balance, or something is left at the end: %s", books[0])
	}
	if !regexp.MustCompile(`live: [1-9]\d* requests, 0 failed\n`).MatchString(out.String()) {
		t.Errorf("a client noticed something:\n%s", out)
	}
	for _, want := range []string{"curl -i http://127.0.0.1:", "/metrics", "understudy status --admin http://127.0.0.1:", "understudy report --admin http://127.0.0.1:", "GET /api/search takes"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("what to try does not say %q:\n%s", want, errOut)
		}
	}
}

func TestDemoOnATerminalShowsALiveViewAndEndsWithAKey(t *testing.T) {
	t.Parallel()
	s, _, keys, restored := terminal(200, 60)
	out := newTranscript()
	s.Out = out
	s.ErrIsTerminal = true
	code := make(chan int, 1)
	go func() { code <- Main(t.Context(), []string{"demo", "--rate", "200"}, s) }()
	base := out.await(t, `The shop is at (http://127\.0\.0\.1:\d+), its books at http`)[1]
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Post(base+"/api/cart", "application/json", strings.NewReader(`{"product": 2, "number": 1}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 200 {
		t.Errorf("the shop answers %s", answer.Status)
	}
	out.await(t, `skipped: write [1-9]`)
	io.WriteString(keys, "q")
	select {
	case got := <-code:
		if got != 0 || !*restored {
			t.Errorf("exit code %d, terminal restored %v", got, *restored)
		}
	case <-time.After(patience):
		t.Fatal("q did not end it")
	}
	if _, after, _ := strings.Cut(out.String(), leaveScreen); !strings.Contains(after, "no client noticed") || !strings.Contains(after, "Copies") || !strings.Contains(after, "take the place of primary (route default)\n  - ") {
		t.Errorf("no summary after the live view: %q", after)
	}
}

func TestDemoFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--rate", "0"}, {"--rate", "5000"}, {"--for", "-1s"}, {"--log-level", "loud"}, {"--driver", "nope"}, {"more"}} {
		s, _, errOut := testStreams()
		if code := Main(t.Context(), append([]string{"demo"}, args...), s); code != ExitUsage {
			t.Errorf("%v: exit code %d: %s", args, code, errOut)
		}
	}
	s, _, errOut := testStreams()
	if code := Main(t.Context(), []string{"demo", "--listen", "nonsense"}, s); code != ExitUsage {
		t.Errorf("a listener that is none: exit code %d: %s", code, errOut)
	}
}

func TestDemoOfAShopAlone(t *testing.T) {
	t.Parallel()
	for edition, want := range map[string]string{"classic": `"price":48000`, "trial": `"cost":"480.00"`} {
		s, _, _ := testStreams()
		errOut := newTranscript()
		s.Err = errOut
		ctx, cancel := context.WithCancel(t.Context())
		code := make(chan int, 1)
		go func() { code <- Main(ctx, []string{"demo", "--shop", edition}, s) }()
		base := errOut.await(t, `shop is at (http://127\.0\.0\.1:\d+)`)[1]
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Get(base + "/api/products/3")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: %v, %s, want %s", edition, err, body, want)
		}
		cancel()
		if got := <-code; got != ExitSuccess {
			t.Errorf("%s: exit code %d", edition, got)
		}
	}
	s, _, errOut := testStreams()
	if code := Main(t.Context(), []string{"demo", "--shop", "other"}, s); code != ExitUsage || !strings.Contains(errOut.String(), `--shop "other" is none of classic, trial`) {
		t.Errorf("another edition: %d, %s", code, errOut)
	}
}
