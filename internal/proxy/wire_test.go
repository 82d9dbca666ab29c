package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// message is what was read from a wire, by a reader that shares no code with
// the proxy's.
type message struct {
	start   string   // request line or status line
	lines   []string // fields, as they came
	body    string
	trailer []string
	interim []string // heads of the 1xx answers before it
}

// value returns the last value of a field.
func (m *message) value(name string) (value string) {
	for _, line := range m.lines {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			value = strings.TrimSpace(v)
		}
	}
	return value
}

// without returns the lines of fields that are not called any of names.
func (m *message) without(names ...string) (lines []string) {
next:
	for _, line := range m.lines {
		n, _, _ := strings.Cut(line, ":")
		for _, name := range names {
			if strings.EqualFold(n, name) {
				continue next
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(line, "\r\n") {
		return "", fmt.Errorf("line %q does not end with CRLF", line)
	}
	return line[:len(line)-2], nil
}

func readLines(r *bufio.Reader) (lines []string, err error) {
	for {
		line, err := readLine(r)
		if err != nil || line == "" {
			return lines, err
		}
		lines = append(lines, line)
	}
}

// readRequest reads a request; io.EOF says that there is none.
func readRequest(r *bufio.Reader) (*message, error) {
	m, err := readHead(r)
	if err != nil {
		return nil, err
	}
	return m, m.readBody(r, false)
}

// readAnswer reads the answer to a request of that method.
func readAnswer(r *bufio.Reader, method string) (*message, error) {
	var interim []string
	for {
		m, err := readHead(r)
		if err != nil {
			return nil, err
		}
		status := m.start[len("HTTP/1.1 "):][:3]
		if status[0] == '1' {
			interim = append(interim, m.start+"|"+strings.Join(m.lines, "|"))
			continue
		}
		m.interim = interim
		if method == "HEAD" || status == "204" || status == "304" {
			return m, nil
		}
		return m, m.readBody(r, true)
	}
}

func readHead(r *bufio.Reader) (m *message, err error) {
	m = &message{}
	for m.start == "" { // an empty line in front is allowed
		if m.start, err = readLine(r); err != nil {
			return nil, err
		}
	}
	m.lines, err = readLines(r)
	return m, err
}

func (m *message) readBody(r *bufio.Reader, answer bool) error {
	length, coding := m.value("Content-Length"), m.value("Transfer-Encoding")
	switch {
	case coding != "":
		return m.readChunks(r)
	case length == "" && answer:
		body, err := io.ReadAll(r)
		m.body = string(body)
		return err
	case length == "":
		return nil
	}
	n, err := strconv.Atoi(length)
	if err != nil {
		return err
	}
	body := make([]byte, n)
	n, err = io.ReadFull(r, body)
	m.body = string(body[:n])
	return err
}

func (m *message) readChunks(r *bufio.Reader) error {
	var body strings.Builder
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(size, 16, 32)
		if err != nil {
			return err
		}
		if n == 0 {
			m.body = body.String()
			m.trailer, err = readLines(r)
			return err
		}
		if _, err := io.CopyN(&body, r, n); err != nil {
			return err
		}
		if line, err := readLine(r); err != nil || line != "" {
			return fmt.Errorf("%q and %v behind a chunk", line, err)
		}
	}
}

// recorder is a backend that keeps what it gets, by the x-request-id that
// every request must have, and answers as answer says.
type recorder struct {
	net.Listener
	answer func(m *message) (raw string, closes bool)
	wg     sync.WaitGroup

	mu  sync.Mutex
	got map[string][]*message
}

func record(t *testing.T, answer func(*message) (string, bool)) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &recorder{Listener: ln, answer: answer, got: map[string][]*message{}}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() {
				if err := s.serve(c); err != nil {
					t.Errorf("a backend got something else than a request: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); s.wg.Wait() })
	return s
}

func (s *recorder) serve(c net.Conn) error {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		m, err := readRequest(r)
		if err != nil {
			if errors.Is(err, io.EOF) && m == nil || errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "reset") {
				return nil
			}
			return err
		}
		id := m.value("x-request-id")
		s.mu.Lock()
		s.got[id] = append(s.got[id], m)
		s.mu.Unlock()
		raw, closes := s.answer(m)
		if _, err := io.WriteString(c, raw); err != nil || closes {
			return nil
		}
	}
}

func (s *recorder) address() string { return s.Addr().String() }
