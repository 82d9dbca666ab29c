package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// LogFormat is how log lines look.
type LogFormat string

// The log formats.
const (
	LogText LogFormat = "text" // for people: 15:04:05 INFO  message key=value
	LogJSON LogFormat = "json" // for machines: slog's JSON
)

// ParseLogFormat reads a flag; empty and "auto" mean text on a terminal and
// JSON otherwise.
func ParseLogFormat(s string, terminal bool) (LogFormat, error) {
	switch LogFormat(s) {
	case LogText, LogJSON:
		return LogFormat(s), nil
	case "", "auto":
		if terminal {
			return LogText, nil
		}
		return LogJSON, nil
	}
	return "", fmt.Errorf("log format %q is none of text, json, auto", s)
}

// NewLogger makes a logger that writes lines to w, each in one Write.
func NewLogger(w io.Writer, format LogFormat, level slog.Leveler) *slog.Logger {
	if format == LogJSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(newTextHandler(w, level))
}

// textHandler puts time, level and message in front, bare, and leaves
// attributes, groups and quoting to slog's own text handler. The two share a
// buffer, hence the lock.
type textHandler struct {
	attrs slog.Handler // writes to line
	out   *textOutput
}

type textOutput struct {
	mu   sync.Mutex
	w    io.Writer
	line bytes.Buffer
}

func newTextHandler(w io.Writer, level slog.Leveler) *textHandler {
	out := &textOutput{w: w}
	return &textHandler{out: out, attrs: slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

// Enabled implements slog.Handler.
func (h *textHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.attrs.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	line := &h.out.line
	line.Reset()
	if !r.Time.IsZero() {
		line.WriteString(r.Time.Format("15:04:05 "))
	}
	fmt.Fprintf(line, "%-5s %s ", r.Level, r.Message)
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	text := append(bytes.TrimRight(line.Bytes(), " \n"), '\n')
	_, err := h.out.w.Write(text)
	return err
}

// WithAttrs implements slog.Handler.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &textHandler{attrs: h.attrs.WithAttrs(attrs), out: h.out}
}

// WithGroup implements slog.Handler.
func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{attrs: h.attrs.WithGroup(name), out: h.out}
}
