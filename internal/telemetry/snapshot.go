package telemetry

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Snapshot is everything a proxy counts, at one moment. Every event loop
// contributes rows it wrote itself between two events, so the books balance in
// every snapshot: Selected = Completed + Dropped + Failed + InFlight.
// A Snapshot belongs to whoever asked for it.
type Snapshot struct {
	Time      time.Time     `json:"time"`
	Started   time.Time     `json:"started"`
	Config    string        `json:"config"` // version in force
	Reloads   uint64        `json:"reloads"`
	Draining  bool          `json:"draining"`
	Loops     int           `json:"loops"`
	Driver    string        `json:"driver"`
	Clients   int64         `json:"clients"` // open client connections
	Accepted  uint64        `json:"accepted"`
	Live      []Live        `json:"live"`
	Mirrors   []Mirror      `json:"mirrors"`
	Endpoints []Endpoint    `json:"endpoints"`
	Datagrams Datagrams     `json:"datagrams"`
	Listeners []Listener    `json:"listeners"` // that speak TLS
	Capture   Capture       `json:"capture"`
	Lag       time.Duration `json:"lag"` // longest pass of any loop since the last snapshot

	// Filled by whoever owns the configuration file and the access log.
	ReloadsFailed uint64    `json:"reloadsFailed"` // configurations refused
	AccessLog     AccessLog `json:"accessLog"`

	// Filled by whoever shows what was compared.
	Pairs []Pairs `json:"pairs"`
}

// Listener counts handshakes of TLS with clients of one listener, by how they ended.
type Listener struct {
	Name       string                       `json:"listener"`
	Handshakes map[traffic.Handshake]uint64 `json:"handshakes"`
}

// Datagrams counts what happened to clients of UDP beyond requests, which are
// their sessions.
type Datagrams struct {
	Evicted uint64 `json:"evicted"` // sessions ended before their time, because there were too many
	Lost    uint64 `json:"lost"`    // live datagrams that could not be passed on
}

// AccessLog counts the lines of the access log.
type AccessLog struct {
	Written uint64 `json:"written"`
	Dropped uint64 `json:"dropped"` // lost because the file or pipe was too slow or broken
}

// Capture counts exchanges whose messages are kept for comparing and recording:
// Drawn = Taken + Lost + InFlight.
type Capture struct {
	Drawn    uint64                    `json:"drawn"`
	Taken    uint64                    `json:"taken"` // by whoever compares and records
	Lost     map[traffic.Reason]uint64 `json:"lost"`
	InFlight int64                     `json:"inFlight"` // not all outcomes are in
	Memory   int64                     `json:"memory"`   // bytes held now, also of those taken
}

// Lose counts one that was lost.
func (c *Capture) Lose(reason traffic.Reason) {
	if c.Lost == nil {
		c.Lost = map[traffic.Reason]uint64{}
	}
	c.Lost[reason]++
}

// Pairs counts the pairs of answers of one mirror of one route that were compared.
type Pairs struct {
	Route   string           `json:"route"`
	Mirror  string           `json:"mirror"`
	Backend string           `json:"backend"` // the shadow
	Classes map[string]int64 `json:"classes"` // by the words of PairClasses
	Tainted int64            `json:"tainted"`
	Verdict string           `json:"verdict"` // one of Verdicts
}

// Live counts requests of one route that went to one primary. Requests that
// matched no route have an empty Route; those answered by the proxy itself
// have an empty Backend.
type Live struct {
	Route    string                    `json:"route"`
	Backend  string                    `json:"backend"`
	Codes    map[int]uint64            `json:"codes"`
	Errors   map[traffic.Source]uint64 `json:"errors"` // requests that failed, by who is to blame
	InFlight int64                     `json:"inFlight"`
	BytesIn  uint64                    `json:"bytesIn"`
	BytesOut uint64                    `json:"bytesOut"`
	Duration Histogram                 `json:"duration"` // head received to last byte handed to the client's socket
	First    Histogram                 `json:"first"`    // request sent to head of the primary's answer

	GRPC map[traffic.GRPCStatus]uint64 `json:"grpc,omitempty"` // calls that ended, by what the client was told
}

// Mirror counts copies of one route for one shadow.
type Mirror struct {
	Route     string                    `json:"route"`
	Name      string                    `json:"mirror"`
	Backend   string                    `json:"backend"`
	Share     float64                   `json:"share"` // configured, 0 to 1
	Selected  uint64                    `json:"selected"`
	Completed uint64                    `json:"completed"`
	InFlight  uint64                    `json:"inFlight"` // queued, being sent or waiting for their answer
	Queued    uint64                    `json:"queued"`   // part of InFlight that waits for a connection
	Skipped   map[traffic.Reason]uint64 `json:"skipped"`
	Dropped   map[traffic.Reason]uint64 `json:"dropped"`
	Failed    map[traffic.Reason]uint64 `json:"failed"`
	Unkeyed   uint64                    `json:"unkeyed"`  // draws without the configured key
	Codes     map[int]uint64            `json:"codes"`    // the shadow's answers
	Bytes     uint64                    `json:"bytes"`    // sent to the shadow
	Memory    int64                     `json:"memory"`   // bytes held now
	LastCopy  time.Time                 `json:"lastCopy"` // when the last copy left; zero if never
	Breaker   string                    `json:"breaker"`  // closed, open, half-open
	Retry     time.Time                 `json:"retry"`    // when an open breaker probes next
	Throttle  float64                   `json:"throttle"` // share left by adaptive back-off, 0 to 1; 1 = none
	First     Histogram                 `json:"first"`    // copy sent to head of the shadow's answer

	GRPC map[traffic.GRPCStatus]uint64 `json:"grpc,omitempty"` // calls that the shadow answered
}

// Endpoint is the state of one address of a backend.
type Endpoint struct {
	Backend  string    `json:"backend"`
	Address  string    `json:"address"`
	InFlight int64     `json:"inFlight"`
	Idle     int64     `json:"idle"` // pooled connections
	Requests uint64    `json:"requests"`
	Failures uint64    `json:"failures"`
	Ejected  bool      `json:"ejected"`
	Until    time.Time `json:"until"` // end of the ejection
}
