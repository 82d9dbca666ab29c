package loop

import (
	"fmt"
	"net/netip"
	"os"
	"time"
)

// Driver names how a loop learns what is ready.
type Driver string

// The drivers there are. Epoll exists on Linux only.
const (
	Epoll Driver = "epoll"
	Go    Driver = "go"
)

// mechanism is what a driver consists of; the table drivers has one for every
// driver this system can run.
type mechanism struct {
	poller func(*Loop) (poller, error)
	listen func(address string, n int) ([]queue, error)
	adopt  func(files []*os.File, n int) ([]queue, error)
}

// poller waits for a loop and calls the handlers of what became ready.
type poller interface {
	// wait sleeps until something is ready, wake is called or d is over
	// (0 only looks, negative waits for ever), and calls the handlers.
	wait(d time.Duration)
	// wake ends a wait early; any goroutine.
	wake()
	// dial starts to connect.
	dial(addr netip.AddrPort, h Handler) (*Conn, error)
	// close closes all sockets and what the poller itself holds.
	close()
}

// DefaultDriver is Epoll on Linux and Go elsewhere.
func DefaultDriver() Driver { return defaultDriver }

// ParseDriver reads the name of a driver: "" and "auto" stand for
// [DefaultDriver]. It is an error to name one this system cannot run.
func ParseDriver(s string) (Driver, error) {
	switch d := Driver(s); d {
	case "", "auto":
		return DefaultDriver(), nil
	case Epoll, Go:
		if _, ok := drivers[d]; !ok {
			return "", fmt.Errorf("driver %q is not available on this system", s)
		}
		return d, nil
	}
	return "", fmt.Errorf("unknown driver %q: want auto, epoll or go", s)
}

// mechanismOf finds the mechanism of a driver; "" means the default one.
func mechanismOf(d Driver) (mechanism, error) {
	d, err := ParseDriver(string(d))
	return drivers[d], err
}
