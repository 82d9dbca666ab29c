// Package house checks the house itself: that imports run downwards only, that
// everything exported is documented, that budgets and names are kept, that the
// documents are true. Each rule is a pure function from a [Tree] to findings,
// so that the same function is run over this checkout, where it must find
// nothing, and over a small bad tree in testdata, where it must find exactly
// what that file says. A rule without such a tree fails the tests: a check that
// cannot fail is a wish.
//
// The rules read source text and never load types: they take well under a
// second, and they work on a tree that does not compile.
package house
