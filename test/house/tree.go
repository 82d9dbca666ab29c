package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/understudy-proxy/understudy"

// Tree is a checkout as the rules see it. It is read once and not changed.
type Tree struct {
	Files    []File // sorted by path, without what version control leaves out
	Packages []*Package
	fset     *token.FileSet
}

// File is one file with its text.
type File struct {
	Path string // slash-separated, from the top of the tree
	Text []byte
}

// Package is one folder of Go source.
type Package struct {
	Dir   string // slash-separated, from the top of the tree
	Name  string // of its non-test files; of its tests if there are no others
	Code  []Source
	Tests []Source
}

// Source is one parsed Go file.
type Source struct {
	File
	AST *ast.File
}

// outside are folders that are not part of the tree: version control's own,
// and what the Makefile builds.
var outside = []string{".git", ".cache", "bin", "dist"}

// ReadTree reads every file of fsys and parses the Go files among them, except
// those that the go command itself would not look at.
func ReadTree(fsys fs.FS) (*Tree, error) {
	t := &Tree{fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(outside, name):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		t.Files = append(t.Files, File{Path: name, Text: text})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tree: %w", err)
	}
	return t, t.parse()
}

func (t *Tree) parse() error {
	byDir := map[string]*Package{}
	for _, file := range t.Files {
		if path.Ext(file.Path) != ".go" || ignoredByGo(file.Path) {
			continue
		}
		parsed, err := parser.ParseFile(t.fset, file.Path, file.Text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse: %w", err)
		}
		dir := path.Dir(file.Path)
		p := byDir[dir]
		if p == nil {
			p = &Package{Dir: dir, Name: strings.TrimSuffix(parsed.Name.Name, "_test")}
			byDir[dir] = p
			t.Packages = append(t.Packages, p)
		}
		source := Source{File: file, AST: parsed}
		if strings.HasSuffix(file.Path, "_test.go") {
			p.Tests = append(p.Tests, source)
		} else {
			p.Code = append(p.Code, source)
		}
	}
	return nil
}

func ignoredByGo(name string) bool {
	for element := range strings.SplitSeq(name, "/") {
		if element == "testdata" || strings.HasPrefix(element, "_") || strings.HasPrefix(element, ".") {
			return true
		}
	}
	return false
}

// at says where a node starts, in the form that editors understand.
func (t *Tree) at(node ast.Node) string {
	position := t.fset.Position(node.Pos())
	return fmt.Sprintf("%s:%d", position.Filename, position.Line)
}

// lines is how many lines a node takes, its first and its last included.
func (t *Tree) lines(node ast.Node) int {
	return t.fset.Position(node.End()).Line - t.fset.Position(node.Pos()).Line + 1
}

// lines is how many lines a file has.
func (f File) lines() int {
	n := bytes.Count(f.Text, []byte("\n"))
	if len(f.Text) > 0 && f.Text[len(f.Text)-1] != '\n' {
		n++
	}
	return n
}

// imports lists the import paths of a file.
func (s Source) imports() []string {
	var paths []string
	for _, spec := range s.AST.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, `"`))
	}
	return paths
}

// matching lists the files whose path matches the pattern of [path.Match].
func (t *Tree) matching(pattern string) []File {
	var files []File
	for _, file := range t.Files {
		if ok, _ := path.Match(pattern, file.Path); ok {
			files = append(files, file)
		}
	}
	return files
}

// find returns the file of that path, or false.
func (t *Tree) find(name string) (File, bool) {
	i, ok := slices.BinarySearchFunc(t.Files, name, func(f File, name string) int {
		return strings.Compare(f.Path, name)
	})
	if !ok {
		return File{}, false
	}
	return t.Files[i], true
}
