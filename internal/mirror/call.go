package mirror

import (
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/grpc"
	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// call names gRPC methods that are copied although every call is a POST: one, or
// with an empty method all of a service.
type call struct{ service, method string }

// calls reads the names of methods as a configuration has them.
func calls(names []string) (list []call) {
	for _, name := range names {
		service, method, _ := strings.Cut(name, "/")
		if method == "*" {
			method = ""
		}
		list = append(list, call{service, method})
	}
	return list
}

// named says whether s is a gRPC call that p copies although it may write.
func (p *Policy) named(s *Subject) bool {
	if len(p.calls) == 0 || !s.Match.GRPC {
		return false
	}
	service, method, ok := grpc.Method(s.Head.Path())
	if !ok {
		return false
	}
	for i := range p.calls {
		if c := &p.calls[i]; c.service == string(service) && (c.method == "" || c.method == string(method)) {
			return true
		}
	}
	return false
}

// callName is the method of a call as it would be named in a configuration.
func callName(s *Subject) string { return strings.TrimPrefix(string(s.Head.Path()), "/") }

// rpc is what a copy is besides, if it is one of a gRPC call.
type rpc struct {
	is       bool
	deadline time.Duration // when the client stops waiting, on the loop's clock; 0 = never
	hurried  bool          // that is before the copy's own time is up
	cut      bool          // it is cut between two messages if it is too long
	messages grpc.Messages
	end      traffic.GRPCCall
}

// outOfTime is why a copy of a call ends with the client's patience.
const outOfTime = "no whole answer within the client's grpc-timeout"

// cutsMessages prepares a copy whose body may be cut, and returns how its length
// is announced: where the cut will be is not known before.
func (c *Copy) cutsMessages(length int64) int64 {
	def := &c.policy.Def.Body
	if c.rpc.is && def.OverLimit == config.OverLimitTruncate && def.Limit >= 0 && (length == http1.LengthChunked || length > int64(def.Limit)) {
		c.rpc.cut = true
		return http1.LengthChunked
	}
	return length
}

// addMessages adds a part of a call's messages, up to the first that is over the
// limit. What may be the beginning of it waits until its length is known: half a
// message must never look like the last one.
func (c *Copy) addMessages(p []byte, b *spool.Buffer) {
	m := &c.rpc.messages
	for len(p) > 0 {
		n, part := m.Next(p)
		switch {
		case part == grpc.Data:
			c.add(p[:n], b)
		case part == grpc.Prefix && m.Size() > c.left:
			c.finishBody(truncatedLine)
			return
		case part == grpc.Prefix:
			c.left -= m.Size()
			c.add(m.Prefix(), nil)
		}
		p = p[n:]
	}
	if !c.charge() {
		c.drop(traffic.DropMemory)
		return
	}
	c.call.Flush()
}

// patience returns how long the copy may take from now on: its own time, or
// what is left of the client's.
func (c *Copy) patience() time.Duration {
	t := time.Duration(c.policy.Def.Timeout)
	if c.rpc.deadline == 0 {
		return t
	}
	if left := c.rpc.deadline - c.start; left < t {
		c.rpc.hurried = true
		return max(left, 1)
	}
	return t
}
