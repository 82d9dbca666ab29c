package house

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
)

// ticket is a test named after a tracker's story instead of a behaviour.
var ticket = regexp.MustCompile(`(?i)(issue|bug|ticket|pr)_?\d+`)

// checkTests finds tests that sleep, are skipped, are empty or are named after
// a ticket. Sleeping is right where time is not real: inside synctest.Test.
// Programs under test measure real time and are left alone.
func checkTests(t *Tree) []string {
	var findings []string
	for _, p := range t.Packages {
		for _, source := range p.Tests {
			findings = append(findings, badTests(t, source.AST)...)
			if strings.HasPrefix(p.Dir, "test/") {
				continue
			}
			for _, call := range callsOutside(source.AST, "synctest.Test", "time.Sleep") {
				findings = append(findings, t.at(call)+": a test does not sleep; use synctest or wait for a channel")
			}
		}
		for _, source := range p.Tests {
			for _, method := range []string{"Skip", "Skipf", "SkipNow"} {
				for _, receiver := range []string{"t", "b", "f"} {
					for _, call := range callsOutside(source.AST, "f.Fuzz", receiver+"."+method) {
						findings = append(findings, t.at(call)+": a test is not skipped; give it what it needs, or a build tag")
					}
				}
			}
		}
	}
	return findings
}

func badTests(t *Tree, file *ast.File) []string {
	var findings []string
	for _, declaration := range file.Decls {
		f, ok := declaration.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") {
			continue
		}
		if f.Body == nil || len(f.Body.List) == 0 {
			findings = append(findings, fmt.Sprintf("%s: %s is empty", t.at(f), f.Name.Name))
		}
		if ticket.MatchString(f.Name.Name) {
			findings = append(findings, fmt.Sprintf("%s: %s is named after a ticket and not after a behaviour", t.at(f), f.Name.Name))
		}
	}
	return findings
}

// callsOutside lists the calls of a function, both written as "x.F", that are
// not inside the arguments of a call of another.
func callsOutside(file *ast.File, around, function string) []*ast.CallExpr {
	var calls []*ast.CallExpr
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		switch {
		case !ok:
			return true
		case isCall(call, around):
			return false
		case isCall(call, function):
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

func isCall(call *ast.CallExpr, function string) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := selector.X.(*ast.Ident)
	return ok && x.Name+"."+selector.Sel.Name == function
}

// checkLeaks finds packages that start goroutines and whose tests do not prove
// that they end. Programs under test are processes of their own and end whole.
func checkLeaks(t *Tree) []string {
	var findings []string
	for _, p := range t.Packages {
		if strings.HasPrefix(p.Dir, "test/") {
			continue
		}
		where := firstGoroutine(t, p)
		if where == "" || guardsLeaks(p) {
			continue
		}
		findings = append(findings, fmt.Sprintf("%s: starts a goroutine, but the tests of %s have no TestMain with goleak.VerifyTestMain", where, p.Dir))
	}
	return findings
}

// firstGoroutine says where a package starts a goroutine, by a go statement or
// by handing a function to a group's Go method.
func firstGoroutine(t *Tree, p *Package) string {
	var where string
	for _, source := range p.Code {
		ast.Inspect(source.AST, func(node ast.Node) bool {
			starts := false
			switch n := node.(type) {
			case *ast.GoStmt:
				starts = true
			case *ast.CallExpr:
				selector, ok := n.Fun.(*ast.SelectorExpr)
				starts = ok && selector.Sel.Name == "Go" && len(n.Args) == 1
			}
			if starts && where == "" {
				where = t.at(node)
			}
			return where == ""
		})
	}
	return where
}

func guardsLeaks(p *Package) bool {
	for _, source := range p.Tests {
		for _, declaration := range source.AST.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok || f.Name.Name != "TestMain" || f.Recv != nil {
				continue
			}
			guarded := false
			ast.Inspect(f, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				guarded = guarded || ok && isCall(call, "goleak.VerifyTestMain")
				return !guarded
			})
			if guarded {
				return true
			}
		}
	}
	return false
}
