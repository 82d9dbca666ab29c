package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
)

// defaultAdmin is where commands look for a running instance.
const defaultAdmin = "127.0.0.1:9900"

// statusLimit bounds what is read of a status: a million rows are no status.
const statusLimit = 256 << 20

// client asks a running instance.
type client struct {
	base  string // http://host:port
	token string
	http  *http.Client
}

// newClient takes an address, or a URL without a path.
func newClient(address, token string) (*client, error) {
	base := address
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, usagef("--admin %q is neither host:port nor a URL such as http://%s", address, defaultAdmin)
	}
	return &client{base: u.Scheme + "://" + u.Host, token: token, http: &http.Client{
		Timeout: 10 * time.Second,
		// Proxies from the environment are for the world outside.
		Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext},
	}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// status asks for the books.
func (c *client) status(ctx context.Context) (*admin.Status, error) {
	return ask[admin.Status](ctx, c, "/api/v1/status")
}

func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	return c.ask(ctx, http.MethodGet, path)
}

// ask returns what is answered. What is not possible yet, 409, is errTooFew.
func (c *client) ask(ctx context.Context, method, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, &absentError{c.base}
	case err != nil:
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, statusLimit))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s%s: %w", c.base, path, err)
	case answer.StatusCode == http.StatusUnauthorized:
		return nil, fmt.Errorf("%s wants a token: set $%s", c.base, tokenVariable)
	case answer.StatusCode == http.StatusConflict:
		return nil, fmt.Errorf("%w: %w", errTooFew, refusal(c.base+path, answer.Status, body))
	case answer.StatusCode != http.StatusOK:
		return nil, refusal(c.base+path, answer.Status, body)
	}
	return body, nil
}

// absentError says that nobody is where an instance was looked for.
type absentError struct{ base string }

// Error says what to do about it.
func (e *absentError) Error() string {
	return fmt.Sprintf("nobody listens at %s: is understudy running, with --admin or admin.address?", e.base)
}

// report asks for what was learned of a mirror; empty = of all.
func (c *client) report(ctx context.Context, mirror string) (*analyze.Report, error) {
	return ask[analyze.Report](ctx, c, "/api/v1/report"+query("mirror", mirror))
}

// ask gets what is at path, as JSON.
func ask[T any](ctx context.Context, c *client, path string) (*T, error) {
	body, err := c.get(ctx, path)
	if err != nil {
		return nil, err
	}
	answer := new(T)
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, fmt.Errorf("%s does not answer as understudy does: %w", c.base, err)
	}
	return answer, nil
}

// query is made of names and values; those without a value are left out.
func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// refusal passes on what the other side says is wrong.
func refusal(where, status string, body []byte) error {
	var f admin.Failure
	if json.Unmarshal(body, &f) != nil || f.Error == "" {
		return fmt.Errorf("%s answers %s", where, status)
	}
	if f.Hint != "" {
		f.Error += " (" + f.Hint + ")"
	}
	return fmt.Errorf("%s answers %s: %s", where, status, f.Error)
}
