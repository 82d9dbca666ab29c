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

// handover holds the sockets on which a server waits for a successor.
type handover struct {
	mu      sync.Mutex
	sockets []*net.UnixListener
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
		s.predecessors = append(s.predecessors, conn)
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

// offerHandover tells predecessors that we serve, and waits for a successor on
// every listener's address. s.mu is held.
func (s *Server) offerHandover() error {
	for _, conn := range s.predecessors {
		conn.SetDeadline(time.Now().Add(handshakeTime))
		if _, err := conn.Write([]byte("ready\n")); err == nil {
			bufio.NewReader(conn).ReadString('\n') // "done": its socket's name is free
		}
		conn.Close()
	}
	s.predecessors = nil
	s.handover = &handover{}
	for key, ln := range s.listeners {
		if err := s.handover.wait(s, key.address, ln.group); err != nil {
			return err
		}
	}
	return nil
}

// wait listens for a successor that wants group.
func (h *handover) wait(s *Server, address string, group *loop.Group) error {
	socket, err := net.ListenUnix("unix", takeoverName(address))
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.sockets = append(h.sockets, socket)
	h.mu.Unlock()
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		for {
			conn, err := socket.AcceptUnix()
			if err != nil {
				return
			}
			if err := s.handOver(conn, group); err != nil {
				s.log.Error("hand over to another instance", "address", address, "error", err)
			}
			conn.Close()
		}
	}()
	return nil
}

// handOver gives group to the successor at conn and, once it serves, ends this
// server.
func (s *Server) handOver(conn *net.UnixConn, group *loop.Group) error {
	if err := sameUser(conn); err != nil {
		return err
	}
	files, err := group.Files()
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	fds := make([]int, 0, len(files))
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	conn.SetDeadline(time.Now().Add(handshakeTime))
	if _, _, err := conn.WriteMsgUnix([]byte("listeners\n"), unix.UnixRights(fds...), nil); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		return errors.New("the other instance did not start")
	}
	s.log.Info("another instance has taken over")
	s.handover.close()
	conn.Write([]byte("done\n"))
	if s.options.TakenOver != nil {
		s.options.TakenOver()
	}
	go s.Drain(context.Background())
	return nil
}

// close stops waiting for successors.
func (h *handover) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, socket := range h.sockets {
		socket.Close()
	}
	h.sockets = nil
}
