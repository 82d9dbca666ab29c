package schema

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The bounds of what a server may answer.
const (
	maxAnswer = 16 << 20
	maxFiles  = 1000
)

// The numbers of fields in ServerReflectionRequest, ServerReflectionResponse and
// what is in them, of grpc/reflection/v1/reflection.proto.
const (
	fieldFileByName           = 3
	fieldFileContainingSymbol = 4
	fieldFiles                = 4 // of a response
	fieldError                = 7
	fieldFile                 = 1 // of fieldFiles
	fieldErrorText            = 2 // of fieldError
)

// versions of the service, newest first.
var versions = []string{"v1", "v1alpha"}

// statusUnimplemented is gRPC's code of what a server does not have.
const statusUnimplemented = "12"

// errUnimplemented says that a server has no reflection of a version.
var errUnimplemented = errors.New("the server offers no reflection")

// Ask has the server at base, http://host:port or https://host:port, say what the
// messages of a service are made of. client must speak HTTP/2 to it, without TLS too
// if base is such.
func Ask(ctx context.Context, client *http.Client, base, service string) (*protoregistry.Files, error) {
	for _, version := range versions {
		a := asker{client: client, url: base + "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo", files: map[string]*descriptorpb.FileDescriptorProto{}}
		err := a.collect(ctx, service)
		if errors.Is(err, errUnimplemented) && version != versions[len(versions)-1] {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ask %s about %s: %w", base, service, err)
		}
		return a.build()
	}
	panic("unreachable: the last version returns")
}

// asker collects files.
type asker struct {
	client *http.Client
	url    string
	files  map[string]*descriptorpb.FileDescriptorProto
}

// collect asks for the file of a service, and then for what that imports, until
// nothing is missing.
func (a *asker) collect(ctx context.Context, service string) error {
	if err := a.ask(ctx, fieldFileContainingSymbol, service); err != nil {
		return err
	}
	for {
		missing := a.missing()
		if missing == "" {
			return nil
		}
		if err := a.ask(ctx, fieldFileByName, missing); err != nil {
			return err
		}
		if a.files[missing] == nil {
			return fmt.Errorf("it does not have %s, which its own files import", missing)
		}
	}
}

func (a *asker) missing() string {
	for _, f := range a.files {
		for _, name := range f.GetDependency() {
			if a.files[name] == nil {
				return name
			}
		}
	}
	return ""
}

func (a *asker) build() (*protoregistry.Files, error) {
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range a.files {
		set.File = append(set.File, f)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("what reflection says does not fit together: %w", err)
	}
	return files, nil
}

// ask makes one call with one question.
func (a *asker) ask(ctx context.Context, field protowire.Number, value string) error {
	message := protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), value)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, strings.NewReader(string(append(frame, message...))))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	answer, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	if err := ended(answer); err != nil {
		return err
	}
	return a.take(body)
}

// ended reads how a call ended.
func ended(answer *http.Response) error {
	code, text := answer.Trailer.Get("Grpc-Status"), answer.Trailer.Get("Grpc-Message")
	if code == "" { // there was no message, and so no trailer
		code, text = answer.Header.Get("Grpc-Status"), answer.Header.Get("Grpc-Message")
	}
	switch {
	case code == statusUnimplemented, answer.StatusCode == http.StatusNotFound:
		return errUnimplemented
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("it answered %s", answer.Status)
	case code != "0":
		return fmt.Errorf("the call ended with status %q %s", code, text)
	}
	return nil
}

// take reads the messages of an answer.
func (a *asker) take(body []byte) error {
	for len(body) > 0 {
		if len(body) < 5 || body[0] != 0 || uint64(len(body)-5) < uint64(binary.BigEndian.Uint32(body[1:])) {
			return errors.New("its answer is cut off, compressed or too long")
		}
		n := int(binary.BigEndian.Uint32(body[1:]))
		if err := a.takeMessage(body[5 : 5+n]); err != nil {
			return err
		}
		body = body[5+n:]
	}
	return nil
}

func (a *asker) takeMessage(m []byte) error {
	return fields(m, func(n protowire.Number, v []byte) error {
		switch n {
		case fieldFiles:
			return fields(v, a.takeFile)
		case fieldError:
			var text string
			err := fields(v, func(n protowire.Number, v []byte) error {
				if n == fieldErrorText {
					text = string(v)
				}
				return nil
			})
			return errors.Join(err, fmt.Errorf("it says %q", text))
		}
		return nil
	})
}

func (a *asker) takeFile(n protowire.Number, v []byte) error {
	if n != fieldFile {
		return nil
	}
	f := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(v, f); err != nil {
		return fmt.Errorf("its descriptors cannot be read: %w", err)
	}
	a.files[f.GetName()] = f
	if len(a.files) > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	return nil
}

// fields calls each with every field of m that holds bytes.
func fields(m []byte, each func(protowire.Number, []byte) error) error {
	for len(m) > 0 {
		n, kind, size := protowire.ConsumeTag(m)
		if size < 0 {
			return fmt.Errorf("its answer cannot be read: %w", protowire.ParseError(size))
		}
		m = m[size:]
		if kind != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(n, kind, m); size < 0 {
				return fmt.Errorf("its answer cannot be read: %w", protowire.ParseError(size))
			}
			m = m[size:]
			continue
		}
		v, size := protowire.ConsumeBytes(m)
		if size < 0 {
			return fmt.Errorf("its answer cannot be read: %w", protowire.ParseError(size))
		}
		m = m[size:]
		if err := each(n, v); err != nil {
			return err
		}
	}
	return nil
}
