package recording

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Filter chooses exchanges: those that every field that is set agrees with. The
// zero value chooses all.
type Filter struct {
	ID     string // the request's
	Method string
	Host   string // in any case; without a port, that of all ports
	Path   string // a prefix, or with * a pattern for the whole path
	Status string // what the client got: 404, or 4xx
	Since  time.Time
	Until  time.Time // that began before
}

// ParseFilter reads a filter as people write it: method=GET,path=/api,status=5xx.
// A time is one of RFC 3339, a day, or how long ago it was, such as 10m.
func ParseFilter(text string) (Filter, error) {
	var f Filter
	if strings.TrimSpace(text) == "" {
		return f, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, v, found := strings.Cut(strings.TrimSpace(part), "=")
		if !found || v == "" {
			return Filter{}, fmt.Errorf("%q is not NAME=VALUE, such as method=GET", part)
		}
		var err error
		switch name {
		case "id":
			f.ID = v
		case "method":
			f.Method = strings.ToUpper(v)
		case "host":
			f.Host = v
		case "path":
			f.Path = v
		case "status":
			f.Status, err = v, checkStatus(v)
		case "since":
			f.Since, err = parseTime(v)
		case "until":
			f.Until, err = parseTime(v)
		default:
			err = fmt.Errorf("it is none of id, method, host, path, status, since, until")
		}
		if err != nil {
			return Filter{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return f, nil
}

func checkStatus(v string) error {
	if len(v) == 3 && v[0] >= '1' && v[0] <= '5' {
		if _, err := strconv.Atoi(v); err == nil || v[1:] == "xx" {
			return nil
		}
	}
	if v == "0" {
		return nil // no answer
	}
	return fmt.Errorf("%q is neither a status such as 404 nor a class such as 5xx", v)
}

func parseTime(v string) (time.Time, error) {
	if ago, err := time.ParseDuration(v); err == nil {
		return time.Now().Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, v, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 2026-05-01T13:04:05Z, nor how long ago it was, such as 10m", v)
}

// Match says whether x is chosen.
func (f *Filter) Match(x *traffic.Exchange) bool {
	return (f.ID == "" || x.ID == f.ID) &&
		(f.Method == "" || x.Method == f.Method) &&
		(f.Host == "" || matchHost(f.Host, x.Host)) &&
		(f.Path == "" || matchPath(f.Path, x.Path)) &&
		(f.Status == "" || matchStatus(f.Status, x.Status)) &&
		(f.Since.IsZero() || !x.Start.Before(f.Since)) &&
		(f.Until.IsZero() || x.Start.Before(f.Until))
}

func matchHost(want, host string) bool {
	if strings.EqualFold(want, host) {
		return true
	}
	name, _, err := net.SplitHostPort(host)
	return err == nil && strings.EqualFold(strings.Trim(want, "[]"), name)
}

func matchStatus(pattern string, status int) bool {
	if class, found := strings.CutSuffix(pattern, "xx"); found {
		return strconv.Itoa(status/100) == class
	}
	return strconv.Itoa(status) == pattern
}

func matchPath(pattern, path string) bool {
	first, rest, found := strings.Cut(pattern, "*")
	path, ok := strings.CutPrefix(path, first)
	if !found || !ok {
		return ok
	}
	for {
		var part string
		part, rest, found = strings.Cut(rest, "*")
		if !found {
			return strings.HasSuffix(path, part)
		}
		at := strings.Index(path, part)
		if at < 0 {
			return false
		}
		path = path[at+len(part):]
	}
}
