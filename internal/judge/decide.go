package judge

// Decision is the verdict about one shadow.
type Decision struct {
	Verdict Verdict  `json:"verdict"`
	Reasons []string `json:"reasons"` // sentences, the gravest first; never empty
	Shown   string   `json:"shown"`   // what the traffic could have shown, and what was not covered
	Checks  []Check  `json:"checks"`  // as given, with the verdicts that hold for all of them together
}

// Decide gives the verdict about a shadow from the checks of all its endpoints
// and of [Everywhere].
func Decide(checks []Check, p Params) Decision {
	return Decision{Verdict: NotEnoughTraffic, Reasons: []string{"No pair has been seen."}, Checks: checks}
}
