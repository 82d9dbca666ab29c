//go:build !linux

package proxy

import (
	"errors"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
)

// handover is not available: it needs sockets without files and with
// credentials.
type handover struct{}

func (h *handover) announce()          {}
func (h *handover) refuse()            {}
func (h *handover) withdraw(*listener) {}
func (h *handover) close()             {}

// inherit returns no listeners.
func (s *Server) inherit(*config.Config) map[string]*loop.Group { return nil }

// offer says that nobody can take over, if somebody wants to know.
func (h *handover) offer(s *Server, _ *listener) error {
	if s.options.Takeover {
		return errors.New("takeover works on Linux only")
	}
	return nil
}
