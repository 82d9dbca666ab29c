package http3

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/proxy"
)

// visit is one connection of a client. It has a server of its own, so that it can be
// told to end apart from others, and is bounded by what was in force when it came.
type visit struct {
	conn     *quic.Conn
	guest    *proxy.Guest
	server   *http3.Server
	patience time.Duration // with the beginning of a request; 0 = for ever
	uploads  sync.WaitGroup

	mu      sync.Mutex
	present int           // requests
	empty   chan struct{} // closed when the last one has ended; nil while nobody waits for that
}

func newVisit(c *quic.Conn, guest *proxy.Guest, bounds config.Client) *visit {
	v := &visit{conn: c, guest: guest, patience: max(time.Duration(bounds.HeadTimeout), 0)}
	v.server = &http3.Server{
		Handler:     v,
		Logger:      slog.New(slog.DiscardHandler), // what clients do wrong is theirs
		IdleTimeout: max(time.Duration(bounds.IdleTimeout), 0),
		// Above it quic-go answers by itself, and nobody counts that. The proxy's own
		// bounds are lower: QUIC counts 32 bytes more for each field (RFC 9114 §4.2.2).
		MaxHeaderBytes: 2*int(bounds.HeadLimit) + 64*bounds.HeaderCount,
	}
	return v
}

// serve returns when the connection and all of its requests have ended.
func (v *visit) serve() {
	_ = v.server.ServeQUICConn(v.conn) // how clients end is seen by their requests
	v.close()
	v.uploads.Wait()
}

func (v *visit) close() {
	_ = v.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// drain tells the client to send no more requests, lets those that it has sent end,
// and closes. When ctx is done, it closes at once.
func (v *visit) drain(ctx context.Context) {
	telling, told := context.WithCancel(ctx)
	var shutdown sync.WaitGroup
	shutdown.Go(func() { _ = v.server.Shutdown(telling) })
	defer shutdown.Wait()
	defer v.close()
	defer told()
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	select {
	case <-grace.C:
	case <-v.conn.Context().Done():
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-v.last():
	case <-v.conn.Context().Done():
	case <-ctx.Done():
	}
}

// last returns what is closed when the last request has ended.
func (v *visit) last() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	empty := make(chan struct{})
	if v.present == 0 {
		close(empty)
	} else {
		v.empty = empty
	}
	return empty
}

// ServeHTTP implements http.Handler: it has the proxy serve one request.
func (v *visit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.count(1)
	defer v.count(-1)
	l := newLine(v.guest.Loop())
	if !v.guest.Enter(&l.Virtual, l) {
		panic(http.ErrAbortHandler) // the proxy has ended
	}
	defer context.AfterFunc(r.Context(), l.reset)()
	u := &upload{request: r, line: l}
	if err := u.begin(w, v.patience); err != nil {
		l.reset()
		panic(http.ErrAbortHandler)
	}
	if !u.whole || u.rest != nil {
		v.uploads.Go(u.run)
	}
	d := &download{line: l, writer: w, head: r.Method == http.MethodHead}
	if err := d.run(); err != nil {
		l.reset()
		panic(http.ErrAbortHandler) // resets the stream: what was sent is not a whole answer
	}
	l.hangUp()
}

func (v *visit) count(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.present += n; v.present == 0 && v.empty != nil {
		close(v.empty)
		v.empty = nil
	}
}
