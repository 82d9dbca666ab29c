package route

import "github.com/understudy-proxy/understudy/internal/config"

// call makes the path test of a match by gRPC service and method: calls have
// the path /service/method. Where both are known it is that path, where the
// method is open a prefix, and else a pattern. Of two patterns that match, the
// one with the longer service is better, then the one with the longer method, as
// the Gateway API has it for GRPCRoute; kinds of path come in that order anyway.
func (c *compiler) call(t *pathTest, m *config.GRPCMatch) error {
	pattern := m.Type == config.ValueRegexp
	switch {
	case m.Service == "" && m.Method == "":
		return nil
	case !pattern && m.Service != "" && m.Method != "":
		*t = pathTest{kind: config.PathExact, value: "/" + m.Service + "/" + m.Method}
	case !pattern && m.Service != "":
		*t = pathTest{kind: config.PathPrefix, value: "/" + m.Service}
	default:
		return c.callPattern(t, m)
	}
	t.length[0] = len(t.value)
	return nil
}

// callPattern makes the pattern for what is a pattern, or open.
func (c *compiler) callPattern(t *pathTest, m *config.GRPCMatch) error {
	part := func(pattern string) string {
		if pattern == "" {
			return "[^/]+"
		}
		return "(?:" + pattern + ")"
	}
	*t = pathTest{kind: config.PathRegexp, value: "/" + part(m.Service) + "/" + part(m.Method), length: [2]int{len(m.Service), len(m.Method)}}
	var err error
	t.regexp, err = c.regexp(t.value)
	return err
}
