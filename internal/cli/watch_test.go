package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-proxy/understudy/internal/admin"
)

// looks answers with a status that is a second later each time.
func looks() func(context.Context) (*admin.Status, error) {
	n := -1
	return func(context.Context) (*admin.Status, error) {
		n++
		s := status()
		s.Time = s.Time.Add(time.Duration(n) * time.Second)
		s.Routes[1].Requests += uint64(10 * n)
		return s, nil
	}
}

func TestWatchPrintsALineForEachLookWithoutATerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, out, _ := testStreams()
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		if err := watch(ctx, &watchOptions{streams: s, ask: looks(), every: time.Second}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), " live 10, failed 0"); got != 3 || strings.Count(out.String(), "\n") != 3 {
			t.Errorf("%d of 3 lines:\n%s", got, out)
		}
	})
}

func TestWatchPrintsADocumentForEachLookAsJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, out, _ := testStreams()
		s.OutIsTerminal = true // even there
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := watch(ctx, &watchOptions{streams: s, ask: looks(), every: time.Second, output: outputJSON}); err != nil {
			t.Fatal(err)
		}
		var requests []uint64
		d := json.NewDecoder(strings.NewReader(out.String()))
		for {
			var got admin.Status
			if err := d.Decode(&got); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			requests = append(requests, got.Routes[1].Requests)
		}
		if len(requests) != 2 || requests[0] != 100 || requests[1] != 110 {
			t.Errorf("requests %v, want 100 and 110", requests)
		}
	})
}

func TestWatchEndsWithTheFirstError(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	s, _, _ := testStreams()
	err := watch(t.Context(), &watchOptions{streams: s, every: time.Second, ask: func(context.Context) (*admin.Status, error) { return nil, gone }})
	if !errors.Is(err, gone) {
		t.Errorf("watch: %v", err)
	}
}

func TestWatchOutlivesAProxyThatIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		ask := func(context.Context) (*admin.Status, error) {
			n++
			s := status()
			s.Time = s.Time.Add(time.Duration(n) * time.Second)
			switch {
			case n == 3:
				return nil, errors.New("nobody listens")
			case n > 3: // another one, which has just begun
				s.Started = noon.Add(4 * time.Second)
				s.Routes[1].Requests = uint64(n)
			}
			return s, nil
		}
		s, out, errOut := testStreams()
		ctx, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond)
		defer cancel()
		if err := watch(ctx, &watchOptions{streams: s, ask: ask, every: time.Second}); err != nil {
			t.Fatal(err)
		}
		if errOut.String() != "nobody listens\n" {
			t.Errorf("stderr: %q", errOut)
		}
		var live []string
		for line := range strings.Lines(out.String()) {
			live = append(live, strings.Fields(line)[2])
		}
		if got := strings.Join(live, " "); got != "0, 1," {
			t.Errorf("live requests in each line: %s\n%s", got, out)
		}
	})
}

// terminal is streams with a screen of that size and a keyboard.
func terminal(columns, rows int) (s *Streams, out *buffer, keys *io.PipeWriter, restored *bool) {
	s, out, _ = testStreams()
	in, keys := io.Pipe()
	restored = new(bool)
	s.In, s.OutIsTerminal = in, true
	s.Size = func() (int, int) { return columns, rows }
	s.Raw = func() (func(), error) { return func() { *restored = true }, nil }
	return s, out, keys, restored
}

func TestWatchGivesTheTerminalBackOnAnyOfItsKeys(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"q": "q", "Q": "Q", "Ctrl-C": "\x03", "Ctrl-D": "\x04", "Escape": "\x1b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, out, keys, restored := terminal(80, 24)
				done := make(chan error, 1)
				go func() { done <- watch(t.Context(), &watchOptions{streams: s, ask: looks(), every: time.Second}) }()
				time.Sleep(2500 * time.Millisecond)
				io.WriteString(keys, "x") // is no key of ours
				io.WriteString(keys, "\x1b[A")
				synctest.Wait()
				if len(done) > 0 {
					t.Fatal("another key ended it")
				}
				io.WriteString(keys, key)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				text := out.String()
				if !strings.HasPrefix(text, enterScreen) || !strings.HasSuffix(text, leaveScreen) || !*restored {
					t.Errorf("the terminal was not given back: %q", text)
				}
				if got := strings.Count(text, toTop); got != 3 {
					t.Errorf("%d pictures, want 3", got)
				}
			})
		})
	}
}

func TestWatchGivesTheTerminalBackOnAnError(t *testing.T) {
	t.Parallel()
	s, out, keys, restored := terminal(80, 24)
	defer keys.Close()
	gone := errors.New("gone")
	err := watch(t.Context(), &watchOptions{streams: s, every: time.Second, ask: func(context.Context) (*admin.Status, error) { return nil, gone }})
	if !errors.Is(err, gone) || !strings.HasSuffix(out.String(), leaveScreen) || !*restored {
		t.Errorf("%v, restored %v: %q", err, *restored, out)
	}
}

func TestAPictureFitsTheTerminalWhateverItsSize(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{80, 24}, {40, 10}, {20, 3}, {500, 200}, {1, 1}} {
		s, out, keys, _ := terminal(size[0], size[1])
		keys.Close()
		screen := &screen{watchOptions: &watchOptions{streams: s, footer: []string{strings.Repeat("footer ", 30)}}}
		if err := screen.draw(view{now: later(), before: status()}); err != nil {
			t.Fatal(err)
		}
		picture := strings.TrimSuffix(strings.TrimPrefix(out.String(), toTop), clearRest)
		lines := strings.Split(picture, "\r\n")
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, line := range lines {
			line, ended := strings.CutSuffix(line, clearLine)
			if n := len([]rune(line)); n > size[0] || !ended {
				t.Errorf("%v: %d columns, rest cleared %v: %q", size, n, ended, line)
			}
		}
		if last := lines[len(lines)-1]; !strings.HasPrefix("q to quit"+clearLine, last[:1]) {
			t.Errorf("%v: the last line does not say how to leave: %q", size, last)
		}
	}
}
