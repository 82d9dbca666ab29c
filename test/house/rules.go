package house

// Rule is one law of the house.
type Rule struct {
	Name  string // also the name of the bad tree in testdata that breaks it
	Why   string // one sentence for whoever broke it
	Check func(*Tree) []string
}

// Rules are the laws of the house, in the order in which a person would want to
// hear about them.
var Rules = []Rule{
	{"format", "all code looks the same, so that a change shows nothing but the change", checkFormat},
	{"floors", "a room imports rooms on lower floors only, so that each can be read with nothing but what is below it", checkFloors},
	{"walls", "what must never wait cannot reach what thinks, and only the controller knows Kubernetes", checkWalls},
	{"comments", "a name that others may use says what it promises", checkComments},
	{"budgets", "what does not fit on a page is not understood", checkBudgets},
	{"names", "one word per role, and no word that says nothing", checkNames},
	{"tests", "a test that sleeps, is skipped or is empty proves nothing", checkTests},
	{"leaks", "a room that starts goroutines proves that they end", checkLeaks},
	{"metrics", "metric names are a contract: one list, one form, closed label sets, one page for people", checkMetrics},
	{"fragments", "every change that users notice is told in one line", checkFragments},
	{"decisions", "a decision that is not written down is taken again", checkDecisions},
	{"glossary", "every word of the house is defined once, with the words it replaces", checkGlossary},
	{"links", "a document that points to nothing is not read twice", checkLinks},
	{"paths", "what works only on one machine does not work", checkPaths},
}
