// Package schema finds out what the messages of gRPC calls are made of: from files
// of descriptors, as protoc and buf write them, or by asking a server that offers
// reflection.
package schema

import (
	"errors"
	"fmt"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// maxFile bounds a file of descriptors; those of large companies have a few MB.
const maxFile = 64 << 20

// Load reads files that hold a FileDescriptorSet each, as protoc
// --include_imports --descriptor_set_out writes them. A file of the set that is in
// several of them is taken once. The result is read-only.
func Load(paths ...string) (*protoregistry.Files, error) {
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	for _, path := range paths {
		one, err := read(path)
		if err != nil {
			return nil, err
		}
		for _, f := range one.GetFile() {
			if !seen[f.GetName()] {
				seen[f.GetName()] = true
				set.File = append(set.File, f)
			}
		}
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("descriptors of %q: %w (write them with --include_imports)", paths, err)
	}
	return files, nil
}

func read(path string) (*descriptorpb.FileDescriptorSet, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read descriptors: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read descriptors: %s has %d bytes, more than %d", path, info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read descriptors: %w", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, set); err != nil || len(set.GetFile()) == 0 {
		return nil, fmt.Errorf("read descriptors: %s holds none (write it with protoc --include_imports --descriptor_set_out)", path)
	}
	return set, nil
}

// ErrNoMethod says that files do not describe a method.
var ErrNoMethod = errors.New("no descriptor has this method")

// Method returns what a method takes and answers. path is as in a request,
// /package.Service/Method.
func Method(files *protoregistry.Files, path string) (in, out protoreflect.MessageDescriptor, err error) {
	service, method, ok := split(path)
	if !ok {
		return nil, nil, fmt.Errorf("%q is not the path of a method", path)
	}
	d, err := files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, ErrNoMethod)
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, nil, fmt.Errorf("%s: %w", path, ErrNoMethod)
	}
	m := s.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		return nil, nil, fmt.Errorf("%s: %w", path, ErrNoMethod)
	}
	return m.Input(), m.Output(), nil
}

// split takes a path apart.
func split(path string) (service, method string, ok bool) {
	if len(path) < 2 || path[0] != '/' {
		return "", "", false
	}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			service, method = path[1:i], path[i+1:]
			return service, method, protoreflect.FullName(service).IsValid() && protoreflect.Name(method).IsValid()
		}
	}
	return "", "", false
}
