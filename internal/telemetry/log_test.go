package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
)

// record hands one record with a fixed time to the logger's handler.
func record(t *testing.T, l *slog.Logger, level slog.Level, msg string, args ...any) {
	t.Helper()
	r := slog.NewRecord(time.Date(2026, 5, 1, 13, 4, 5, 0, time.UTC), level, msg, 0)
	r.Add(args...)
	if err := l.Handler().Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestTextLinesAreForPeople(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := NewLogger(&out, LogText, slog.LevelInfo)
	record(t, l, slog.LevelInfo, "serving", "address", "127.0.0.1:80")
	record(t, l.With("route", "a b").WithGroup("tls"), slog.LevelError, "gone", "why", errors.New("x\ny"))
	record(t, l, slog.LevelWarn, "bare")
	want := "13:04:05 INFO  serving address=127.0.0.1:80\n" +
		"13:04:05 ERROR gone route=\"a b\" tls.why=\"x\\ny\"\n" +
		"13:04:05 WARN  bare\n"
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}

func TestJSONLinesAreSlogsOwn(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	record(t, NewLogger(&out, LogJSON, slog.LevelInfo), slog.LevelInfo, "serving", "loops", 2)
	want := `{"time":"2026-05-01T13:04:05Z","level":"INFO","msg":"serving","loops":2}` + "\n"
	if out.String() != want {
		t.Errorf("got %s want %s", out.String(), want)
	}
}

func TestLevelBelowIsNotWritten(t *testing.T) {
	t.Parallel()
	for _, f := range []LogFormat{LogText, LogJSON} {
		var out bytes.Buffer
		var level slog.LevelVar
		l := NewLogger(&out, f, &level)
		l.Debug("no")
		level.Set(slog.LevelDebug)
		l.Debug("yes")
		if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "yes") {
			t.Errorf("%s: %d lines: %s", f, got, out.String())
		}
	}
}

// TestTextHandlerKeepsSlogsRules parses the text back and runs the standard
// library's conformance suite.
func TestTextHandlerKeepsSlogsRules(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return newTextHandler(&out, slog.LevelDebug)
	}, func(t *testing.T) map[string]any { return parseTextLine(t, out.String()) })
}

func parseTextLine(t *testing.T, line string) map[string]any {
	t.Helper()
	got := map[string]any{}
	rest := strings.TrimSuffix(line, "\n")
	if stamp, after, ok := strings.Cut(rest, " "); ok && len(stamp) == len("15:04:05") && stamp[2] == ':' {
		got[slog.TimeKey] = stamp
		rest = after
	}
	got[slog.LevelKey] = strings.TrimSpace(rest[:5])
	msg, attrs, _ := strings.Cut(rest[6:], " ")
	got[slog.MessageKey] = msg
	for pair := range strings.FieldsSeq(attrs) {
		key, value, _ := strings.Cut(pair, "=")
		at := got
		path := strings.Split(key, ".")
		for _, group := range path[:len(path)-1] {
			if at[group] == nil {
				at[group] = map[string]any{}
			}
			at = at[group].(map[string]any)
		}
		at[path[len(path)-1]] = value
	}
	return got
}

// chunks remembers each Write apart, to see that a line is never split.
type chunks struct {
	mu   sync.Mutex
	list []string
}

func (c *chunks) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, string(p))
	return len(p), nil
}

func TestConcurrentLinesStayWhole(t *testing.T) {
	t.Parallel()
	var out chunks
	l := NewLogger(&out, LogText, slog.LevelInfo)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				l.With("a", 1).Info("hello", "b", 2)
			}
		})
	}
	wg.Wait()
	if len(out.list) != 400 {
		t.Fatalf("%d writes for 400 lines", len(out.list))
	}
	for _, line := range out.list {
		if !strings.HasSuffix(line, " INFO  hello a=1 b=2\n") {
			t.Fatalf("broken line %q", line)
		}
	}
}

func TestParseLogFormat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in       string
		terminal bool
		want     LogFormat
	}{
		{"", true, LogText}, {"", false, LogJSON}, {"auto", true, LogText}, {"auto", false, LogJSON},
		{"text", false, LogText}, {"json", true, LogJSON},
	}
	for _, tt := range tests {
		got, err := ParseLogFormat(tt.in, tt.terminal)
		if err != nil || got != tt.want {
			t.Errorf("ParseLogFormat(%q, %v) = %q, %v; want %q", tt.in, tt.terminal, got, err, tt.want)
		}
	}
	if _, err := ParseLogFormat("xml", true); err == nil || err.Error() != `log format "xml" is none of text, json, auto` {
		t.Errorf("ParseLogFormat(xml): %v", err)
	}
}
