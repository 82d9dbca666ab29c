package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
)

// ask makes requests of one kind.
type ask struct {
	endpoint string // METHOD /template, as a report names it
	make     func(d *rand.Rand) (method, target, kind, body string)
}

func get(endpoint string, target func(d *rand.Rand) string) ask {
	return ask{"GET " + endpoint, func(d *rand.Rand) (string, string, string, string) { return "GET", target(d), "", "" }}
}

func always(target string) ask {
	path, _, _ := strings.Cut(target, "?")
	return get(path, func(*rand.Rand) string { return target })
}

var words = []string{"st", "lamp", "umbrella", "mask", "Rosin", "o"}

// asks are the traffic, all of it in every run.
var asks = []ask{
	always("/shop/api/products"),
	get("/shop/api/products/{id}", func(d *rand.Rand) string { return fmt.Sprintf("/shop/api/products/%d", 1+d.IntN(8)) }),
	get("/shop/api/search", func(d *rand.Rand) string {
		return "/shop/api/search?q=" + words[d.IntN(len(words))] + "&locale=" + locales[d.IntN(len(locales))]
	}),
	get("/shop/api/orders/{id}", func(d *rand.Rand) string { return fmt.Sprintf("/shop/api/orders/%d", 1000+d.IntN(200)) }),
	{"POST /shop/api/orders", func(*rand.Rand) (string, string, string, string) {
		return "POST", "/shop/api/orders", "application/json", "{}"
	}},
	always("/bin/json"), always("/bin/xml"), always("/bin/html"), always("/bin/encoding/utf8"), always("/bin/stream-bytes/600?seed=7"),
	get("/bin/bytes/{id}", func(*rand.Rand) string { return "/bin/bytes/512?seed=7" }), always("/bin/response-headers?x-unit=cents&x-scale=2"), always("/bin/base64/dW5kZXJzdHVkeQ=="),
	always("/bin/redirect-to?url=%2Fbin%2Fjson"), always("/bin/status/204"), always("/bin/cookies/set?flavour=plain"),
	get("/bin/lines", func(d *rand.Rand) string { return fmt.Sprintf("/bin/lines?n=%d", 3+d.IntN(3)) }),
	get("/bin/zipped", func(d *rand.Rand) string { return fmt.Sprintf("/bin/zipped?page=%d", d.IntN(5)) }),
	{"POST /bin/post", func(d *rand.Rand) (string, string, string, string) {
		return "POST", "/bin/post", "application/x-www-form-urlencoded", fmt.Sprintf("size=%d&colour=red&note=a+b", d.IntN(4))
	}},
}

var (
	tenants = []string{"acme", "globex", "initech", "umbrella", "hooli"}
	locales = []string{"en", "de", "fr", "tr"}
	agents  = []string{"shop-ios/4.1", "shop-android/4.0", "shop-web/12"}
)

// request makes the next request: every third one goes to the endpoint in question,
// the others anywhere.
func request(d *rand.Rand, base, endpoint string) (*http.Request, error) {
	a := asks[d.IntN(len(asks))]
	for _, b := range asks {
		if b.endpoint == endpoint && d.IntN(3) == 0 {
			a = b
		}
	}
	method, target, kind, body := a.make(d)
	r, err := http.NewRequest(method, base+target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.Header.Set("X-Tenant", tenants[d.IntN(len(tenants))])
	r.Header.Set("User-Agent", agents[d.IntN(len(agents))])
	r.Header.Set("X-Request-Id", fmt.Sprintf("%016x%016x", d.Uint64(), d.Uint64()))
	return r, nil
}
