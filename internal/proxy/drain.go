package proxy

import (
	"context"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/upstream"
)

// Done is closed when the server has ended: after Drain, or when another
// instance took over and the last client has gone.
func (s *Server) Done() <-chan struct{} { return s.done }

// Drain ends the server: it takes no new clients, answers with Connection:
// close, waits for live requests and then for copies, each for as long as the
// configuration or ctx allows, and cuts off what is left. A server that was
// not started is just closed. Calling Drain again waits for the first call.
func (s *Server) Drain(ctx context.Context) error {
	s.ending.Do(func() { s.drain(ctx) })
	<-s.done
	return nil
}

// drain does what Drain says. Listeners that another instance shares are
// closed on our side only.
func (s *Server) drain(ctx context.Context) {
	s.draining.Store(true)
	s.mu.Lock()
	shutdown := s.plan.config.Shutdown
	s.closeListeners(&plan{})
	s.handover.close()
	started := s.started
	s.mu.Unlock()
	if started {
		live, cancel := context.WithTimeout(ctx, orLong(shutdown.Drain))
		defer cancel()
		defer context.AfterFunc(live, s.cutOff)()
		s.drainWorkers(live)
		s.annexes.Wait()
		s.relays.running.Wait()
		copies, cancelCopies := context.WithTimeout(ctx, orLong(shutdown.Copies))
		defer cancelCopies()
		s.drainCopies(copies)
	}
	s.release(started)
	close(s.done)
}

// release ends the loops and everything else that needs an end, when nothing
// is left to do. Loops that were never started free what they hold by running.
func (s *Server) release(started bool) {
	s.cutOff()
	s.annexes.Wait()
	for _, w := range s.workers {
		w.loop.Stop()
		if !started {
			w.loop.Run()
		}
	}
	s.running.Wait()
	s.relays.running.Wait()
	s.mirrors.Close()
	s.registry.Close()
	s.notes.close()
}

// orLong turns a timeout into one for a context: off is a day.
func orLong(t config.Timeout) time.Duration {
	if t < 0 {
		return 24 * time.Hour
	}
	return time.Duration(t)
}

// drainWorkers waits for the clients of all workers, and then cuts them off.
func (s *Server) drainWorkers(ctx context.Context) {
	gone := make(chan struct{}, len(s.workers))
	for _, w := range s.workers {
		w.loop.Post(func() { w.drain(func() { gone <- struct{}{} }) })
	}
	for range s.workers {
		select {
		case <-gone:
		case <-ctx.Done():
			for _, w := range s.workers {
				w.loop.Call(w.abort)
			}
			return
		}
	}
}

// drainCopies waits for the copies of all workers, and then drops them.
func (s *Server) drainCopies(ctx context.Context) {
	const look = 10 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	for s.copiesInFlight() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	for _, w := range s.workers {
		w.loop.Call(w.copies.Shutdown)
	}
}

func (s *Server) copiesInFlight() (n int) {
	for _, w := range s.workers {
		w.loop.Call(func() { n += w.copies.InFlight() })
	}
	return n + s.mirrors.Datagrams(func(*telemetry.Mirror) {}, func(upstream.Load) {})
}
