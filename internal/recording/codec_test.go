package recording

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestRecordsKeepEveryField(t *testing.T) {
	t.Parallel()
	odd := full()
	odd.Path, odd.Query, odd.UserAgent = "/\xff\xfe", "\x00", "\xc3("
	odd.Rule, odd.BytesIn = -1, math.MaxInt64
	for name, want := range map[string]*traffic.Exchange{
		"full":  full(),
		"empty": {},
		"bytes": odd,
		"empty messages": {
			Request: &traffic.Message{}, Primary: traffic.Outcome{Answer: &traffic.Message{}}, Copies: []traffic.Outcome{{Answer: &traffic.Message{}}, {}},
		},
	} {
		got, err := decodeExchange(appendExchange(nil, want))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		same(t, got, want)
	}
}

func TestNamesAreUTF8(t *testing.T) {
	t.Parallel()
	got, err := decodeExchange(appendExchange(nil, &traffic.Exchange{Route: "a\xffb"}))
	if err != nil || got.Route != "a\ufffdb" {
		t.Errorf("got %q, %v", got.Route, err)
	}
}

func TestSizeLimitIsOne(t *testing.T) {
	t.Parallel()
	most := traffic.Outcome{
		Backend: strings.Repeat("\xff", 1000), Fate: "\xff", Status: -1, Bytes: -1, Queued: -1, Connect: -1, Start: -1, First: -1, End: -1, Source: 255,
		Error: strings.Repeat("e", 20000), Answer: &traffic.Message{Body: make([]byte, 1<<20), Length: -1, Hash: 1, Whole: true},
	}
	x := &traffic.Exchange{
		ID: strings.Repeat("i", 20000), Start: time.Unix(-1, 0), Duration: -1, Route: strings.Repeat("\xff", 1000), Rule: -1, Status: -1, BytesIn: -1, BytesOut: -1,
		Source: 255, Client: full().Client, Primary: most, Copies: []traffic.Outcome{most, most}, Request: most.Answer,
	}
	for _, x := range []*traffic.Exchange{x, full(), {}, numbered(1)} {
		if got, limit := int64(len(prefixLength(appendExchange(nil, x), 0))), sizeLimit(x); got > limit {
			t.Errorf("a record of %d bytes is over its limit of %d", got, limit)
		}
	}
}

func TestFieldsOfLaterVersionsAreLeftAlone(t *testing.T) {
	t.Parallel()
	b := appendExchange(nil, full())
	b = appendText(b, 900, "a later version's")
	b = appendInt(b, 901, 7)
	b = protowire.AppendTag(b, 902, protowire.Fixed32Type)
	b = protowire.AppendFixed32(b, 7)
	got, err := decodeExchange(b)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, full())
}

func TestRecordsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for name, record := range map[string][]byte{
		"cut":             appendExchange(nil, full())[:5],
		"no tag":          {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"length too long": {0x0a, 0xff, 0xff, 0xff, 0x7f},
		"copies":          bytes.Repeat([]byte{0xb2, 0x01, 0x00}, maxCopies+1),
	} {
		if _, err := decodeExchange(record); !errors.Is(err, errRecord) {
			t.Errorf("%s: got %v, want an error", name, err)
		}
	}
}

// describe reads the description of records that people get.
func describe(t *testing.T, message string) protoreflect.MessageDescriptor {
	t.Helper()
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{"../../docs/formats"}}}
	files, err := compiler.Compile(context.Background(), "recording.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Messages().ByName(protoreflect.Name(message))
}

// TestAnyDecoderOfProtobufReadsRecords reads the golden segment with nothing but
// docs/formats/recording.proto, and expects what testdata/exchange.json says.
func TestAnyDecoderOfProtobufReadsRecords(t *testing.T) {
	t.Parallel()
	_, blocks, err := openSegment("testdata/v1.rec", newDecoder())
	if err != nil {
		t.Fatal(err)
	}
	h, err := blocks.header()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := blocks.content(h)
	if err != nil {
		t.Fatal(err)
	}
	record, _, err := cutRecord(raw)
	if err != nil {
		t.Fatal(err)
	}
	message := dynamicpb.NewMessage(describe(t, "Exchange"))
	if err := proto.Unmarshal(record, message); err != nil {
		t.Fatal(err)
	}
	if unknown := message.GetUnknown(); len(unknown) > 0 {
		t.Errorf("recording.proto does not know %x", unknown)
	}
	got, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/exchange.json")
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, want)
	// And back: what any encoder writes is a record.
	back, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	x, err := decodeExchange(back)
	if err != nil {
		t.Fatal(err)
	}
	same(t, x, full())
}

func sameJSON(t *testing.T, got, want []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	same(t, a, b)
}

func TestIndexIsDescribed(t *testing.T) {
	t.Parallel()
	x := &index{blocks: []indexEntry{{32, 2, 5, 9}}}
	x.countNamed("GET /", 2)
	message := dynamicpb.NewMessage(describe(t, "Index"))
	if err := proto.Unmarshal(x.append(nil), message); err != nil {
		t.Fatal(err)
	}
	got, err := protojson.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, []byte(`{"blocks":[{"offset":"32","count":2,"first":"5","last":"9"}],"endpoints":[{"name":"R0VUIC8=","count":"2"}]}`))
}

func TestEndpointsLeaveIdsOut(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/":             "GET /",
		"":              "GET ",
		"/api/v1/users": "GET /api/v1/users",
		"/users/17":     "GET /users/{}",
		"/users/17/":    "GET /users/{}/",
		"/a/4b7e2c8e-0000-4b7e-a0d3-5c2f8e6bffff/b": "GET /a/{}/b",
		"/cafe":                        "GET /cafe",
		"/t/eyJhbGciOiJIUzI1NiJ9xyz01": "GET /t/{}",
		"*":                            "GET *",
		"/" + strings.Repeat("x", 300): "GET /" + strings.Repeat("x", 123),
	} {
		if got := string(appendEndpoint(nil, []byte("GET"), []byte(path))); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

func TestEndpointsAreBounded(t *testing.T) {
	t.Parallel()
	x := &index{}
	for i := range 2 * maxEndpoints {
		x.count([]byte("GET"), []byte("/"+strings.Repeat("x", i%64)+string(rune('a'+i/64))))
	}
	if len(x.endpoints) != maxEndpoints+1 || *x.endpoints[""] != maxEndpoints {
		t.Errorf("got %d endpoints, and %d others", len(x.endpoints), *x.endpoints[""])
	}
}
