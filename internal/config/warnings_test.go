package config

import (
	"strings"
	"testing"
)

// What is allowed and probably not meant is said with the field that it is about.
func TestWarningsAboutComparingAndRecording(t *testing.T) {
	t.Parallel()
	const rest = `
backends: [{name: v1, endpoints: ["127.0.0.1:9000"]}, {name: v2, endpoints: ["127.0.0.1:9001"]}, {name: v3, endpoints: ["127.0.0.1:9002"]}]
`
	const web = `
listeners: [{name: web, address: "127.0.0.1:8080"}]
routes: [{name: shop, rules: [{backends: [{name: v1}], mirrors: [{backend: v2, `
	for name, c := range map[string]struct{ text, want string }{
		"nothing to say":                    {web + "compare: {baseline: v3}}]}]}]" + rest + "capture: {cpu: 1}\nrecord: {directory: a}", ""},
		"a baseline with live requests":     {web + "compare: {baseline: v1}}]}]}]" + rest, "routes[0].rules[0].mirrors[0].compare.baseline: is where live requests go, which then gets requests that no client has sent (name a backend of other instances of that version)"},
		"WebSockets that are not compared":  {web + "upgrades: copy, compare: {repeat: 5}}]}]}]" + rest, "routes[0].rules[0].mirrors[0].compare: is about requests only: of the WebSockets that upgrades: copy copies, nothing is compared (nothing needs to be done, if that is meant)"},
		"WebSockets without a word of that": {web + "upgrades: copy, compare: {endpoints: []}}]}]}]" + rest, ""},
		"WebSockets and nothing compared":   {web + "upgrades: copy, compare: {percent: 0}}]}]}]" + rest, ""},
		"more cores than are used":          {web + "}]}]}]" + rest + "capture: {cpu: 2}", "capture.cpu: has no effect beyond 1: comparing keeps one core busy at most, whatever it may (write 1, or less)"},
		"a route that cannot be recorded": {`
listeners: [{name: web, address: "127.0.0.1:8080"}, {name: db, address: "127.0.0.1:5432", protocol: TCP}]
routes: [{name: shop, rules: [{backends: [{name: v1}]}]}, {name: data, listeners: [db], rules: [{backends: [{name: v2}]}]}]
` + rest + "record: {directory: a}", "record: nothing of route data is recorded, which is of TCP: there are no messages that the proxy reads (record requests where they can be read: at a listener of HTTP or HTTPS)"},
	} {
		var got []string
		for _, w := range parse(t, c.text).Warnings {
			w.File, w.Line = "", 0
			got = append(got, w.Error())
		}
		if all := strings.Join(got, "\n"); all != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, all, c.want)
		}
	}
}
