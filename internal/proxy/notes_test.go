package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNotesAreWrittenInOrderAndLostWhenTheLogIsStuck(t *testing.T) {
	var text bytes.Buffer
	n := newNotes(slog.New(slog.NewTextHandler(&text, nil)))
	stuck, begun := make(chan struct{}), make(chan struct{})
	n.add(func(*slog.Logger) { close(begun); <-stuck })
	<-begun
	for i := range maxNotes + 3 {
		n.add(func(log *slog.Logger) { log.Info("note", "n", i) })
	}
	close(stuck)
	n.close()
	var got []string
	for line := range strings.Lines(text.String()) {
		_, what, _ := strings.Cut(strings.TrimSpace(line), "level=")
		got = append(got, what)
	}
	if len(got) != maxNotes+1 || got[0] != `ERROR msg="the log was too slow" lost=3` {
		t.Fatalf("got %d lines and first %q, want %d notes behind one that says what is lost", len(got), got[0], maxNotes)
	}
	for i, line := range got[1:] {
		if want := fmt.Sprintf("INFO msg=note n=%d", i); line != want {
			t.Fatalf("got %q, want %q", line, want)
		}
	}
}

func TestNotesDoNotHoldUpTheEnd(t *testing.T) {
	n := newNotes(slog.New(slog.DiscardHandler))
	stuck := make(chan struct{})
	n.add(func(*slog.Logger) { <-stuck })
	n.close() // returns though the line is still being written
	close(stuck)
	<-n.done
}
