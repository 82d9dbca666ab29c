package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
)

// A new instance takes over from a running one like this:
//
//	new                                old
//	connect to the old one's socket ─▶ check that it is the same user
//	                                ◀─ the listening sockets
//	adopt them, start serving
//	"ready"                         ─▶ close the takeover socket
//	                                ◀─ "done", then drain and end
//	offer a takeover socket itself
//
// Both share one accept queue throughout, so that no connection is lost, and a
// new instance that fails before "ready" leaves the old one as it was.

// handover is a server's part in takeovers: from its predecessor, and by its
// successor.
type handover struct {
	predecessors []*net.UnixConn // that gave us listeners and wait to hear that we serve

	mu      sync.Mutex
	sockets map[*listener]*net.UnixListener // on which a successor asks
	asking  map[*net.UnixConn]bool          // successors that do not serve yet
	over    bool                            // nobody else may ask
	closed  bool                            // and who has asked gets no more time
}

// handshakeTime bounds each step of a takeover, and a new instance's start.
const handshakeTime = 30 * time.Second

// maxListeners bounds how many sockets one message carries (SCM_MAX_FD).
const maxListeners = 253

// takeoverName is an abstract socket (unix(7)) for an address: it has no file
// that could be left behind, and ends with its process.
func takeoverName(address string) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@understudy-takeover-%d-%s", os.Getuid(), address)}
}

// inherit asks a running instance for the listeners of cfg and returns them by
// address; none if there is no instance.
func (s *Server) inherit(cfg *config.Config) map[string]*loop.Group {
	if !s.options.Takeover {
		return nil
	}
	groups := map[string]*loop.Group{}
	for _, def := range cfg.Listeners {
		if chosenPort(def.Address) || def.Protocol == "UDP" {
			continue
		}
		conn, err := net.DialUnix("unix", nil, takeoverName(def.Address))
		if err != nil {
			continue // nobody there: the address is opened anew
		}
		group, err := s.receive(conn)
		if err != nil {
			s.log.Error("take over listener", "address", def.Address, "error", err)
			conn.Close()
			continue
		}
		groups[def.Address] = group
		s.handover.predecessors = append(s.handover.predecessors, conn)
	}
	return groups
}

// receive gets the sockets of one listener.
func (s *Server) receive(conn *net.UnixConn) (*loop.Group, error) {
	if err := sameUser(conn); err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(handshakeTime))
	buf, oob := make([]byte, 16), make([]byte, unix.CmsgSpace(4*maxListeners))
	_, n, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("the running instance sent no sockets")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		files[i] = os.NewFile(uintptr(fd), "listener")
		defer files[i].Close()
	}
	return loop.FromFiles(files, len(s.workers), s.driver)
}

// sameUser says whether the process at the other end has our user: nobody else
// may get or give listeners.
func sameUser(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if int(cred.Uid) != os.Getuid() {
		return syscall.EPERM
	}
	return nil
}

// announce tells predecessors that we serve.
func (h *handover) announce() {
	for _, conn := range h.predecessors {
		conn.SetDeadline(time.Now().Add(handshakeTime))
		if _, err := conn.Write([]byte("ready\n")); err == nil {
			_, _ = bufio.NewReader(conn).ReadString('\n') // "done": its socket's name is free
		}
	}
	h.refuse()
}

// refuse leaves predecessors, which go on as before if they were not told that
// we serve.
func (h *handover) refuse() {
	for _, conn := range h.predecessors {
		conn.Close()
	}
	h.predecessors = nil
}

// offer waits for a successor that wants ln.
func (h *handover) offer(s *Server, ln *listener) error {
	if chosenPort(ln.key.address) {
		return nil // nobody else could mean the same one
	}
	socket, err := net.ListenUnix("unix", takeoverName(ln.key.address))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return socket.Close()
	}
	if h.sockets == nil {
		h.sockets, h.asking = map[*listener]*net.UnixListener{}, map[*net.UnixConn]bool{}
	}
	h.sockets[ln] = socket
	s.running.Go(func() { h.wait(s, ln, socket) })
	return nil
}

// withdraw ends what offer began.
func (h *handover) withdraw(ln *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if socket := h.sockets[ln]; socket != nil {
		socket.Close()
		delete(h.sockets, ln)
	}
}

// wait serves successors that want ln until its socket is closed.
func (h *handover) wait(s *Server, ln *listener, socket *net.UnixListener) {
	for {
		conn, err := socket.AcceptUnix()
		if err != nil {
			return
		}
		if err := s.handOver(conn, ln); err != nil && !s.draining.Load() {
			s.log.Error("hand over to another instance", "address", ln.key.address, "error", err)
		}
		conn.Close()
	}
}

// handOver gives ln to the successor at conn and, once it serves, ends this
// server.
func (s *Server) handOver(conn *net.UnixConn, ln *listener) error {
	if err := sameUser(conn); err != nil {
		return err
	}
	if err := give(conn, ln.group); err != nil {
		return err
	}
	if err := s.handover.ready(conn); err != nil {
		return err
	}
	s.handover.free()
	_, _ = conn.Write([]byte("done\n")) // the successor serves, whether it hears this or not
	s.taken.Do(func() {
		s.log.Info("another instance has taken over")
		if s.options.TakenOver != nil {
			s.options.TakenOver()
		}
		go func() { _ = s.Drain(context.Background()) }() // it never fails
	})
	return nil
}

// give sends the sockets of group.
func give(conn *net.UnixConn, group *loop.Group) error {
	files, err := group.Files()
	if err != nil {
		return err
	}
	fds := make([]int, 0, len(files))
	for _, f := range files {
		defer f.Close()
		fds = append(fds, int(f.Fd()))
	}
	conn.SetDeadline(time.Now().Add(handshakeTime))
	_, _, err = conn.WriteMsgUnix([]byte("listeners\n"), unix.UnixRights(fds...), nil)
	return err
}

// ready waits until the successor at conn serves.
func (h *handover) ready(conn *net.UnixConn) error {
	h.mu.Lock()
	if h.asking[conn] = true; h.closed {
		conn.SetReadDeadline(time.Unix(1, 0))
	}
	h.mu.Unlock()
	line, err := bufio.NewReader(conn).ReadString('\n')
	h.mu.Lock()
	delete(h.asking, conn)
	h.mu.Unlock()
	if err != nil || strings.TrimSpace(line) != "ready" {
		return errors.New("the other instance did not start")
	}
	return nil
}

// free closes the sockets, so that the successor can have their names.
func (h *handover) free() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	for ln, socket := range h.sockets {
		socket.Close()
		delete(h.sockets, ln)
	}
}

// close waits for successors no more, also for those that have asked.
func (h *handover) close() {
	h.free()
	h.refuse()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for conn := range h.asking {
		conn.SetReadDeadline(time.Unix(1, 0))
	}
}
