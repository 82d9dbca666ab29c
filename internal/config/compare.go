package config

import "time"

// Capture bounds what is kept of exchanges for comparing and recording, until
// that is done. It never makes a request or a copy wait: what does not fit is
// not captured, and counted.
type Capture struct {
	Body   Size    `yaml:"body"`   // kept of each message's body; default 256KiB
	Memory Size    `yaml:"memory"` // kept of all messages at once; default 16MiB
	Queue  int     `yaml:"queue"`  // finished exchanges that wait to be looked at; default 4096
	CPU    float64 `yaml:"cpu"`    // cores that comparing may keep busy; 0 = 1
	Yield  *bool   `yaml:"yield"`  // nil = true: compare fewer while others need the processors
}

// Compare says how a shadow's answers are compared with the primary's.
type Compare struct {
	Percent   *float64      `yaml:"percent"`   // share of the copies whose answers are compared; nil = 100, 0 = off
	Rules     []CompareRule `yaml:"rules"`     // what counts as a difference; others are found out
	Endpoints []string      `yaml:"endpoints"` // path templates, as /users/{id}; those of other paths are learned
	// Descriptors are files with the descriptors of gRPC's messages, as protoc
	// --include_imports --descriptor_set_out writes them. Reflection has the shadow
	// asked for others. Without either, fields are known by their numbers.
	Descriptors []string `yaml:"descriptors"`
	Reflection  bool     `yaml:"reflection"`
	Baseline    string   `yaml:"baseline"` // backend of the primary's version that gets copies too, to measure noise; empty = none
	Repeat      *float64 `yaml:"repeat"`   // share of safe requests sent to the shadow once more, to measure its noise; nil = 1
	Requery     *bool    `yaml:"requery"`  // nil = true: a safe request whose answers differ is sent to the shadow once more
	Judge       Judge    `yaml:"judge"`
}

// CompareRule says how the values at a path are compared. Exactly one of the
// fields from Ignore to Pattern is set.
type CompareRule struct {
	// Path is status, header.NAME, trailer.NAME or body and what follows:
	// body.items[*].price, body.rates{*}, body.**.updated_at.
	Path     string `yaml:"path"`
	Endpoint string `yaml:"endpoint"` // METHOD /template that the rule is for, either part may be *; empty = all

	Ignore  bool           `yaml:"ignore"`  // no difference at or below it counts
	Shape   bool           `yaml:"shape"`   // it must be there and of the same type
	Set     bool           `yaml:"set"`     // the order of an array's elements does not matter
	Key     string         `yaml:"key"`     // the field that identifies an array's elements
	Number  string         `yaml:"number"`  // may differ so much: "0.01" or "1%"
	Time    *time.Duration `yaml:"time"`    // may differ so much
	Pattern string         `yaml:"pattern"` // both must match this regular expression
}

// Judge says what a verdict asks for.
type Judge struct {
	Alpha   float64  `yaml:"alpha"`   // probability of a FAIL without a cause, however often one looks; default 0.05
	Excess  *float64 `yaml:"excess"`  // percent of differing answers beyond noise that PASS rules out; nil = 0.1
	Errors  *float64 `yaml:"errors"`  // percent of errors beyond the primary's that PASS rules out; nil = 0.1
	Latency *float64 `yaml:"latency"` // percent by which the shadow may be slower; nil = 5
	Pairs   int      `yaml:"pairs"`   // fewer are NOT_ENOUGH_TRAFFIC; default 300
}

// Redact names what is replaced by tokens before anything is compared, stored or
// shown, besides what is always: well-known credentials and cookies.
type Redact struct {
	Headers  []string         `yaml:"headers"`
	Query    []string         `yaml:"query"`
	Fields   []string         `yaml:"fields"`   // of JSON, forms and multipart: a name, at any depth, or a path as card.number
	Protobuf []RedactProtobuf `yaml:"protobuf"` // of gRPC
	Keep     []string         `yaml:"keep"`     // names of the built-in list that are no secret here
	Key      string           `yaml:"key"`      // of the tokens; empty = a new one at every start
}

// RedactProtobuf names fields of gRPC messages by their numbers.
type RedactProtobuf struct {
	Method string   `yaml:"method"` // package.Service/Method, package.Service/* or *
	Fields []string `yaml:"fields"` // paths of field numbers, as 3 or 4.1
}

// Record says what is written to disk, to be sent again later.
type Record struct {
	Directory string   `yaml:"directory"`
	Percent   *float64 `yaml:"percent"` // share of the requests; nil = 100
	Segment   Size     `yaml:"segment"` // default 64MiB
	Size      Size     `yaml:"size"`    // of all segments: the oldest are deleted; default 10GiB
	Age       Age      `yaml:"age"`     // older segments are deleted; 0 = never because of their age
}

// Age is how old something may become, written as 36h or 30d. Zero is no limit.
type Age time.Duration

// Duration is the age for computing with; 0 if there is no limit.
func (a Age) Duration() time.Duration { return time.Duration(a) }
