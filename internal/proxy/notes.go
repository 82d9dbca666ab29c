package proxy

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// notes writes log lines in the order in which event loops have them, without
// making a loop wait: a log that is stuck, such as a full pipe, must not stop
// live requests. Lines for which there is no room are lost and counted.
type notes struct {
	log   *slog.Logger
	lines chan func(*slog.Logger)
	lost  atomic.Int64
	done  chan struct{}
}

const (
	// maxNotes is far more than a healthy log ever has waiting: what is noted
	// changes at most a few times a second for each mirror.
	maxNotes = 256
	// notesTime is how long the end waits for a log that is stuck.
	notesTime = time.Second
)

func newNotes(log *slog.Logger) *notes {
	n := &notes{log: log, lines: make(chan func(*slog.Logger), maxNotes), done: make(chan struct{})}
	go n.write()
	return n
}

// add has a line written soon. Any goroutine, until close.
func (n *notes) add(line func(*slog.Logger)) {
	select {
	case n.lines <- line:
	default:
		n.lost.Add(1)
	}
}

func (n *notes) write() {
	defer close(n.done)
	for line := range n.lines {
		line(n.log)
		if lost := n.lost.Swap(0); lost > 0 {
			n.log.Error("the log was too slow", "lost", lost)
		}
	}
}

// close writes what waits, unless that takes too long.
func (n *notes) close() {
	close(n.lines)
	select {
	case <-n.done:
	case <-time.After(notesTime):
	}
}
