package compare

import (
	"encoding/binary"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// shop describes package shop: Get answers with an Item.
func shop(t *testing.T) *protoregistry.Files {
	t.Helper()
	field := func(name string, number int32, label descriptorpb.FieldDescriptorProto_Label, kind descriptorpb.FieldDescriptorProto_Type, of string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Label: &label, Type: &kind}
		if of != "" {
			f.TypeName = &of
		}
		return f
	}
	const (
		one, many   = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		text, count = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_INT32
		double      = descriptorpb.FieldDescriptorProto_TYPE_DOUBLE
		message     = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("shop.proto"), Package: proto.String("shop"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Item"), Field: []*descriptorpb.FieldDescriptorProto{
				field("id", 1, one, text, ""), field("price", 2, one, double, ""), field("sizes", 3, many, count, ""),
				field("parts", 4, many, message, ".shop.Item"), field("stock", 5, many, message, ".shop.Item.StockEntry"),
			}, NestedType: []*descriptorpb.DescriptorProto{{
				Name: proto.String("StockEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
				Field: []*descriptorpb.FieldDescriptorProto{field("key", 1, one, text, ""), field("value", 2, one, count, "")},
			}}},
		},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Shop"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Get"), InputType: proto.String(".shop.Item"), OutputType: proto.String(".shop.Item")},
		}}},
	}
	files, err := protodesc.NewFiles(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// message is written by hand, as a server might.
type message []byte

func (m message) text(field protowire.Number, s string) message {
	return protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), s)
}

func (m message) count(field protowire.Number, v uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), v)
}

func (m message) double(field protowire.Number, bits uint64) message {
	return protowire.AppendFixed64(protowire.AppendTag(m, field, protowire.Fixed64Type), bits)
}

func (m message) framed() []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

func call(messages ...message) *traffic.Outcome {
	var body []byte
	for _, m := range messages {
		body = append(body, m.framed()...)
	}
	o := answered("HTTP/2 200\nContent-Type: application/grpc\n\n" + string(body))
	o.Fate = traffic.Completed
	return &o
}

const (
	half    = 0x3fe0000000000000 // 0.5
	quarter = 0x3fd0000000000000 // 0.25
)

func shopItem(id string, price uint64) message { return message(nil).text(1, id).double(2, price) }

// Fields, and entries of a map, may come in any order; lists may be packed.
func TestMessagesWithDescriptors(t *testing.T) {
	t.Parallel()
	rules := &Rules{}
	rules.Descriptors(shop(t))
	x := &traffic.Exchange{Method: "POST", Path: "/shop.Shop/Get"}
	entry := func(key string, value uint64) string { return string(message(nil).text(1, key).count(2, value)) }
	packed := string(protowire.AppendVarint(protowire.AppendVarint(nil, 7), 8))
	primary := message(nil).text(1, "a").double(2, half).count(3, 7).count(3, 8).
		text(4, string(shopItem("x", half))).text(4, string(shopItem("y", half))).text(5, entry("ams", 1)).text(5, entry("fra", 2))
	for name, test := range map[string]struct {
		shadow message
		want   string
	}{
		"written otherwise": {
			message(nil).text(5, entry("fra", 2)).text(5, entry("ams", 1)).double(2, half).text(1, "a").text(3, packed).
				text(4, string(shopItem("x", half))).text(4, string(shopItem("y", half))), "match\n",
		},
		"changed": {
			message(nil).text(1, "a").double(2, quarter).count(3, 7).
				text(4, string(shopItem("x", half))).text(4, string(shopItem("y", quarter))).text(5, entry("ams", 1)).text(5, entry("fra", 3)).count(9, 1),
			"diff\n" +
				"extra body[*].9 at body[0].9: absent -> number 1 (number)\n" +
				"missing body[*].sizes[*] at body[0].sizes[1]: number 8 (number) -> absent\n" +
				"value body[*].parts[*].price at body[0].parts[1].price: number 0.5 (number) -> number 0.25 (number) delta -0.25 similar\n" +
				"value body[*].price at body[0].price: number 0.5 (number) -> number 0.25 (number) delta -0.25 similar\n" +
				"value body[*].stock{*} at body[0].stock.fra: number 2 (number) -> number 3 (number) delta 1 similar\n",
		},
		"of another type": {message("\xff"), "diff\ntype body[*] at body[0]: object " + `{"id":"a","parts":[{"id":"x","price":0.5},{"id":"y","price":0.5}],"price":0.5,"sizes":[7,8],"stock":{"ams":1,"fra":2}}` + " -> bytes ff\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := written(New(rules).Compare(x, call(primary), call(test.shadow), Options{}))
			if got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

// Without descriptors, fields have numbers.
func TestMessagesWithoutDescriptors(t *testing.T) {
	t.Parallel()
	inner := string(message(nil).text(1, "x").count(2, 5))
	other := string(message(nil).text(1, "x").count(2, 6))
	primary := call(message(nil).text(1, "tea").count(2, 3).text(3, inner).text(4, "a").text(4, "b"), message(nil).text(1, "end"))
	shadow := call(message(nil).count(2, 3).text(4, "a").text(1, "milk").text(3, other), message(nil).text(1, "end"))
	want := "diff\n" +
		"missing body[*].4 at body[0].4[1]: string b (word) -> absent\n" +
		"value body[*].1 at body[0].1: string tea (word) -> string milk (word) similar\n" +
		"value body[*].3.2 at body[0].3.2: number 5 (number) -> number 6 (number) delta 1 similar\n"
	got := written(New(nil).Compare(&traffic.Exchange{Method: "POST", Path: "/shop.Shop/Get"}, primary, shadow, Options{}))
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A message that nests as deep as it can is read as far as is sensible.
func TestDeepMessages(t *testing.T) {
	t.Parallel()
	m := message(nil).count(1, 1)
	for range 2000 {
		m = message(nil).text(1, string(m))
	}
	got := New(nil).Compare(&traffic.Exchange{}, call(m), call(append(m, message(nil).count(2, 1)...)), Options{})
	if got.Class != Diff || len(got.Differences) != 1 || !strings.HasPrefix(got.Differences[0].Path, "body[*].2") {
		t.Errorf("%s", written(got))
	}
}
