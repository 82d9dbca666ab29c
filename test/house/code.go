package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkFormat finds files that gofmt would change.
func checkFormat(t *Tree) []string {
	var findings []string
	for _, p := range t.Packages {
		for _, source := range slices.Concat(p.Code, p.Tests) {
			if formatted, err := format.Source(source.Text); err != nil || !bytes.Equal(formatted, source.Text) {
				findings = append(findings, source.Path+": not gofmt-ed")
			}
		}
	}
	return findings
}

// unowned is a promise that nobody made.
var unowned = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b[^(]`)

// checkComments finds packages and exported names without a doc comment that
// starts as Go's do, and promises without a name.
func checkComments(t *Tree) []string {
	var findings []string
	for _, p := range t.Packages {
		if len(p.Code) > 0 {
			findings = append(findings, packageComment(p)...)
		}
		for _, source := range p.Code {
			for _, declaration := range source.AST.Decls {
				for _, name := range undocumented(declaration) {
					findings = append(findings, fmt.Sprintf("%s: exported %s has no comment that starts with its name", t.at(name), name.Name))
				}
			}
		}
		for _, source := range slices.Concat(p.Code, p.Tests) {
			for _, group := range source.AST.Comments {
				if unowned.MatchString(group.Text()) {
					findings = append(findings, t.at(group)+": a TODO names who will do it: TODO(name)")
				}
			}
		}
	}
	return findings
}

func packageComment(p *Package) []string {
	starts := []string{"Package " + p.Name + " "}
	if p.Name == "main" { // a program begins with its own name
		name := path.Base(p.Dir)
		starts = []string{"Command " + name + " ", strings.ToUpper(name[:1]) + name[1:] + " "}
	}
	var comments int
	for _, source := range p.Code {
		text := source.AST.Doc.Text()
		if text == "" {
			continue
		}
		comments++
		if !slices.ContainsFunc(starts, func(start string) bool { return strings.HasPrefix(text, start) }) {
			return []string{fmt.Sprintf("%s: the package comment does not start with %q", source.Path, starts[0])}
		}
	}
	if comments != 1 {
		return []string{fmt.Sprintf("%s: has %d package comments instead of one", p.Dir, comments)}
	}
	return nil
}

// undocumented lists the exported names of a declaration whose comment is
// missing or starts with something else. In a group of constants or variables
// the comment of the group is enough.
func undocumented(declaration ast.Decl) []*ast.Ident {
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && receiverExported(d) && !startsWith(d.Doc, d.Name.Name) {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		var names []*ast.Ident
		for _, spec := range d.Specs {
			names = append(names, undocumentedSpec(d, spec)...)
		}
		return names
	}
	return nil
}

func undocumentedSpec(group *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		doc := s.Doc
		if doc == nil && !group.Lparen.IsValid() {
			doc = group.Doc
		}
		if s.Name.IsExported() && !startsWith(doc, s.Name.Name) {
			return []*ast.Ident{s.Name}
		}
	case *ast.ValueSpec:
		if group.Lparen.IsValid() && (group.Doc != nil || s.Doc != nil || s.Comment != nil) {
			return nil
		}
		for _, name := range s.Names {
			if name.IsExported() && !startsWith(group.Doc, name.Name) && !startsWith(group.Doc, s.Names[0].Name) {
				return []*ast.Ident{name}
			}
		}
	}
	return nil
}

func receiverExported(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	receiver := f.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return r.IsExported()
		default:
			return true
		}
	}
}

func startsWith(doc *ast.CommentGroup, name string) bool {
	text := doc.Text()
	for _, article := range []string{"", "A ", "An ", "The "} {
		rest, ok := strings.CutPrefix(text, article+name)
		next, _ := utf8.DecodeRuneInString(rest)
		if ok && rest != "" && !unicode.IsLetter(next) && !unicode.IsDigit(next) {
			return true
		}
	}
	return false
}

// The budgets, in what a person sees. Averages never made a house ugly: the
// longest function, the widest interface did.
const (
	maxFunctionLines    = 100
	maxFileLines        = 800
	maxCommandLines     = 150 // cmd is wiring
	maxParameters       = 5   // the sixth makes a struct
	maxInterfaceMethods = 4
)

// checkBudgets finds what is too long or too wide. In tests only files have a
// budget: a table is as long as it has rows.
func checkBudgets(t *Tree) []string {
	var findings []string
	for _, p := range t.Packages {
		for _, source := range slices.Concat(p.Code, p.Tests) {
			limit := maxFileLines
			if strings.HasPrefix(p.Dir, "cmd/") && !strings.HasSuffix(source.Path, "_test.go") {
				limit = maxCommandLines
			}
			if n := source.lines(); n > limit {
				findings = append(findings, fmt.Sprintf("%s: %d lines, at most %d", source.Path, n, limit))
			}
		}
		for _, source := range p.Code {
			ast.Inspect(source.AST, func(node ast.Node) bool {
				findings = append(findings, overBudget(t, node)...)
				return true
			})
		}
	}
	return findings
}

func overBudget(t *Tree, node ast.Node) []string {
	var findings []string
	over := func(name string, n, limit int, what string) {
		if n > limit {
			findings = append(findings, fmt.Sprintf("%s: %s has %d %s, at most %d", t.at(node), name, n, what, limit))
		}
	}
	switch n := node.(type) {
	case *ast.FuncDecl:
		over(n.Name.Name, t.lines(n), maxFunctionLines, "lines")
		over(n.Name.Name, n.Type.Params.NumFields(), maxParameters, "parameters")
		if adjacentBools(n.Type.Params) {
			findings = append(findings, fmt.Sprintf("%s: %s has two bools side by side, which nobody can read at the call", t.at(n), n.Name.Name))
		}
	case *ast.FuncLit:
		over("a function literal", t.lines(n), maxFunctionLines, "lines")
		over("a function literal", n.Type.Params.NumFields(), maxParameters, "parameters")
	case *ast.TypeSpec:
		if i, ok := n.Type.(*ast.InterfaceType); ok {
			over(n.Name.Name, i.Methods.NumFields(), maxInterfaceMethods, "methods")
		}
	}
	return findings
}

// adjacentBools says whether two bools stand side by side among other
// parameters. Two bools alone are what a function is about: both(a, b).
func adjacentBools(parameters *ast.FieldList) bool {
	if parameters.NumFields() == 2 {
		return false
	}
	before := false
	for _, field := range parameters.List {
		t, ok := field.Type.(*ast.Ident)
		isBool := ok && t.Name == "bool"
		if isBool && (before || len(field.Names) > 1) {
			return true
		}
		before = isBool
	}
	return false
}

// Words that say nothing about what a thing does.
var (
	emptySuffixes = []string{"Manager", "Helper", "Helpers", "Util", "Utils", "Impl", "Info", "Data", "Base", "Wrapper"}
	emptyPackages = []string{"util", "utils", "common", "helper", "helpers", "models", "types", "pkg", "misc", "base", "shared"}
)

// checkNames finds packages, files and types with names that say nothing, and
// exported names that repeat the name of their package.
func checkNames(t *Tree) []string {
	var findings []string
	for _, p := range t.Packages {
		for element := range strings.SplitSeq(p.Dir, "/") {
			if slices.Contains(emptyPackages, element) {
				findings = append(findings, fmt.Sprintf("%s: a package is not called %q", p.Dir, element))
			}
		}
		for _, source := range slices.Concat(p.Code, p.Tests) {
			base, _, _ := strings.Cut(path.Base(source.Path), ".")
			if slices.Contains(emptyPackages, strings.TrimSuffix(base, "_test")) {
				findings = append(findings, fmt.Sprintf("%s: a file is not called %q", source.Path, base))
			}
			for _, name := range declared(source.AST) {
				if why := badName(p.Name, name); why != "" {
					findings = append(findings, fmt.Sprintf("%s: %s %s", t.at(name.Ident), name.Name, why))
				}
			}
		}
	}
	return findings
}

// declaredName is a name at the top of a file.
type declaredName struct {
	*ast.Ident
	isType bool
}

func declared(file *ast.File) []declaredName {
	var names []declaredName
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				names = append(names, declaredName{d.Name, false})
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if s, ok := spec.(*ast.TypeSpec); ok && d.Tok == token.TYPE {
					names = append(names, declaredName{s.Name, true})
				}
			}
		}
	}
	return names
}

func badName(packageName string, name declaredName) string {
	lower := strings.ToLower(name.Name)
	if name.isType {
		for _, suffix := range emptySuffixes {
			if strings.HasSuffix(name.Name, suffix) || lower == strings.ToLower(suffix) {
				return fmt.Sprintf("ends in %q, which says nothing", suffix)
			}
		}
	}
	if !name.IsExported() || packageName == "main" || !strings.HasPrefix(lower, packageName) {
		return ""
	}
	if rest := name.Name[len(packageName):]; rest != "" && unicode.IsUpper(rune(rest[0])) {
		return fmt.Sprintf("repeats the name of its package; %s.%s is enough", packageName, rest)
	}
	return ""
}
