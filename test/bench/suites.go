//go:build linux

package main

import (
	"fmt"
	"slices"
)

// suite is a table of workloads by contestants, and what is promised of it.
type suite struct {
	name      string // of the files it is written to, without folder and ending
	title     string
	how       string   // Markdown at the report's end
	who       []string // names of contestants
	idle      bool     // proxies without traffic are watched too
	loops     bool     // the part of the event loops in the CPU is told apart
	workloads []workload
	targets   []target
}

var speedSuite = suite{
	name: "speed", title: "Speed: understudy beside nginx and haproxy", how: howSpeed,
	who:  []string{direct, nginxPlain, haproxyPlain, ours0, ours10, nginxMirror, ours100, oursPipe, nginxBest, oursBare, oursPipeBare},
	idle: true,
	workloads: []workload{
		{Name: "get-200", Title: "GET, answers of 200 bytes", Answer: 200},
		{Name: "get-10k", Title: "GET, answers of 10 KB", Answer: 10_000},
		{Name: "post-4k", Title: "POST of 4 KB, answers of 200 bytes", Answer: 200, Body: 4 << 10},
		{Name: "post-64k", Title: "POST of 64 KB, answers of 200 bytes", Answer: 200, Body: 64 << 10},
		{Name: "post-chunked", Title: "chunked POST of 16 KB in chunks of 4 KB, answers of 200 bytes", Answer: 200, Body: 16 << 10, Chunked: true, Chunk: 4 << 10},
		{Name: "latency", Title: "GET at a fixed rate, answers of 200 bytes", Answer: 200, Open: true},
	},
	targets: []target{
		{"100 % copies ÷ nginx `mirror` as usually met", ours100, nginxMirror, 0.35, cpuRatio},
		{"100 % copies ÷ nginx `mirror` at its best", oursBare, nginxBest, 0.75, cpuRatio},
		{"100 % copies ÷ haproxy without a copy", ours100, haproxyPlain, 1.1, cpuRatio},
		{"pipelined copies ÷ nginx `mirror` as usually met", oursPipe, nginxMirror, 0.25, cpuRatio},
		{"pipelined copies ÷ nginx `mirror` at its best", oursPipeBare, nginxBest, 0.55, cpuRatio},
		{"pipelined copies ÷ haproxy without a copy", oursPipe, haproxyPlain, 0.9, cpuRatio},
		{"0 % copies ÷ nginx without a copy", ours0, nginxPlain, 1.0, cpuRatio},
		{"0 % copies ÷ haproxy without a copy", ours0, haproxyPlain, 1.0, cpuRatio},
	},
}

var protocolSuite = suite{
	name: "protocols", title: "Protocols: understudy beside nginx and Envoy", how: howProtocols,
	who: []string{nginxPlain, envoyPlain, ours0, nginxMirror, envoyMirror, ours100, oursPipe, nginxBest, oursBare},
	workloads: []workload{
		{Name: "tls-get-200", Title: "GET over TLS, answers of 200 bytes, 64 connections", Answer: 200, Wire: wire{TLS: true}, Conns: 64},
		{Name: "tls-post-4k", Title: "POST of 4 KB over TLS, answers of 200 bytes, 64 connections", Answer: 200, Body: 4 << 10, Wire: wire{TLS: true}, Conns: 64},
		{Name: "h2-get-200", Title: "GET over HTTP/2 and TLS, answers of 200 bytes, 16 connections of 8 streams", Answer: 200, Wire: wire{TLS: true, HTTP2: true}, Conns: 16, Streams: 8},
		{Name: "h2c-get-200", Title: "GET over HTTP/2 in the clear, answers of 200 bytes, 16 connections of 8 streams", Answer: 200, Wire: wire{HTTP2: true}, Conns: 16, Streams: 8},
		{Name: "grpc-unary", Title: "gRPC calls of 100 bytes, answers of 100, 16 connections of 8 calls", Answer: 100, Body: 100, Messages: 1, Wire: wire{HTTP2: true, GRPC: true}, Conns: 16, Streams: 8},
		{Name: "grpc-stream", Title: "gRPC calls of 100 messages each way, in turns, of 100 bytes, 4 connections of 16 calls", Answer: 100, Body: 100, Messages: 100, Wire: wire{HTTP2: true, GRPC: true}, Conns: 4, Streams: 16},
	},
	targets: []target{
		{"100 % copies ÷ Envoy with `request_mirror_policies`", ours100, envoyMirror, 0.8, cpuRatio},
		{"100 % copies ÷ nginx `mirror` as usually met", ours100, nginxMirror, 1.2, cpuRatio},
		{"100 % copies ÷ nginx `mirror` at its best", oursBare, nginxBest, 1.2, cpuRatio},
		{"0 % copies ÷ Envoy without a copy", ours0, envoyPlain, 0.8, cpuRatio},
		{"0 % copies ÷ nginx without a copy", ours0, nginxPlain, 1.2, cpuRatio},
	},
}

// Both backends give the same answer, as those of most pairs do.
var compareSuite = suite{
	name: "capture", title: "What it costs to have answers compared", how: howCompare,
	who:   []string{compare0, compare10, compare100, compareAll},
	loops: true,
	workloads: []workload{
		{Name: "get-1k", Title: "GET, answers of 1 KB", Answer: 1 << 10, Same: true},
		{Name: "get-1k-rate", Title: "GET at a fixed rate, answers of 1 KB", Answer: 1 << 10, Same: true, Open: true},
		{Name: "get-10k", Title: "GET, answers of 10 KB", Answer: 10 << 10, Same: true},
		{Name: "post-1k", Title: "POST of 1 KB, answers of 1 KB", Answer: 1 << 10, Body: 1 << 10, Same: true},
	},
	targets: []target{
		{"event loops: all drawn to be compared ÷ none", compare100, compare0, 1.05, loopRatio},
		{"event loops: all compared, without yielding ÷ none", compareAll, compare0, 1.05, loopRatio},
		{"event loops: 10 % compared ÷ none", compare10, compare0, 1.05, loopRatio},
	},
}

// unit is what figures are for each of.
func (w *workload) unit() string {
	if w.Messages > 1 {
		return "message"
	}
	return "request"
}

// contestants are those that take part.
func (s *suite) contestants() []contestant {
	return slices.DeleteFunc(slices.Clone(contestants), func(c contestant) bool {
		return !slices.Contains(s.who, c.Name)
	})
}

// out is where the report goes unless a flag says otherwise.
func (s *suite) out() string { return fmt.Sprintf("docs/bench/%s.md", s.name) }

const howSpeed = `
## How it is measured

` + "`make bench`" + ` builds understudy and runs this whole table again; ` + "`go run ./test/bench -help`" + ` lists what can be chosen.

- Load generator and upstreams are single-threaded epoll loops, each a process of its own, on loopback.
- CPU is user + system time of the proxy's whole process tree for each live request *that the primary saw*, from the start of the load until the copies have drained.
- A ratio is the median of the ratios within each round.
  It is void if a request failed, or if more than 1 % of the copies were lost: a copy that was not sent costs nothing.
- "Same set" says that the primary saw exactly the requests that were sent, and the shadow of a 100 % mirror exactly those too, by a hash over their ids.
- Throughput is in closed loop, with all cores busy. Latency is in open loop: it counts from when a request fell due, whatever became of the ones before.
- nginx: one worker per core, kept connections and HTTP/1.1 to both upstreams, no log, no body on disk. "As usually met": the shadow answers with a body, so that nginx cannot keep its connection. "At its best": the shadow answers 204.
- haproxy: one thread per core, ` + "`http-reuse always`" + `, no mirror.
- understudy: ` + "`writes: copy`" + `, and limits on copies that a saturated machine does not reach; pipelined: ` + "`pipeline: 16`" + `. It adds forwarding headers and a request id, and marks copies; nginx and haproxy are spared that.
- "Other CPU" is what programs unknown to the bench took of all cores: where it is more than a few percent, measure again.
`

const howCompare = `
## How it is measured

` + "`make bench-compare`" + ` builds understudy and runs this whole table again; ` + "`go run ./test/bench -help`" + ` lists what can be chosen.

- One mirror copies all requests, and compares none, 10 % or all of the answers. Primary and shadow give the same answers.
- In closed loop all cores are busy. Comparing then gives way, as ` + "`capture.yield`" + ` says, unless that is off: "compared %" is what was compared of all requests in fact. At a fixed rate every contestant has the same to do.
- Load generator and upstreams are single-threaded epoll loops, each a process of its own, on loopback.
- CPU is user + system time of the proxy's process for each live request *that the primary saw*, from the start of the load until the copies have drained.
- The loops' part of it is theirs in a CPU profile of the same time: samples with ` + "`loop.(*Loop).Run`" + ` on the stack. They are what live requests and copies wait for; comparing runs elsewhere, and so does the collector.
- A ratio is the median of the ratios within each round. Of the loops' it is uncertain by the profile too: a share of 80 % among 1,000 samples by 1.3 of these 80.
- A ratio is void if a request failed, or if more than 1 % of the copies were lost. Who compares sends the shadow a few requests again, so that it may see more than were copied, and another set.
- "Other CPU" is what programs unknown to the bench took of all cores: where it is more than a few percent, measure again.
`

const howProtocols = `
## How it is measured

` + "`make bench-protocols`" + ` builds understudy and runs this whole table again; ` + "`go run ./test/bench -help`" + ` lists what can be chosen.

- Everything runs on loopback, in processes of its own, and shares the cores.
- CPU is user + system time of the proxy's whole process tree for each live request *that the primary saw*, from the start of the load until the copies have drained. In ` + "`grpc-stream`" + ` it is for each message.
- A ratio is the median of the ratios within each round.
  It is void if a request failed, or if more than 1 % of the copies were lost: a copy that was not sent costs nothing.
- "Same set" says that the primary saw as many requests as were sent, and the shadow of a 100 % mirror exactly the primary's, by a hash over their ids. In ` + "`grpc-stream`" + ` the primary's are compared with those sent in the same way.
- Load is h2load with one thread, in closed loop; calls with many messages come from a client of grpc-go, which compares every answer. Upstreams of the gRPC rows are servers of grpc-go, the others single-threaded epoll loops that speak HTTP/1.1.
- TLS is 1.3 with ` + "`TLS_AES_128_GCM_SHA256`" + ` for everybody and a certificate on P-256, between client and proxy. Connections stay, so that handshakes do not count.
- gRPC is HTTP/2 in the clear from client to proxy to primary and shadow.
- nginx: one worker per core, kept connections and HTTP/1.1 to both upstreams, no log, no body on disk. "As usually met": the shadow answers with a body, so that nginx cannot keep its connection. "At its best": the shadow answers 204. With HTTP/2 it may have 16,384 streams on a connection: it counts one as open until its copy is done, and with its usual 128 refuses requests of clients who have 8 at a time. It takes no part in gRPC.
- Envoy: one worker per core, no log, ` + "`request_mirror_policies`" + ` for all requests, kept connections to both upstreams.
- understudy: ` + "`writes: copy`" + `, and limits on copies that a saturated machine does not reach; pipelined: ` + "`pipeline: 16`" + `.
- "Other CPU" is what programs unknown to the bench took of all cores: where it is more than a few percent, measure again.
`
