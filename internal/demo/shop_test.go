package demo

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// visit sends one request; hungUp says that there was no whole answer.
func visit(s *Shop, method, target, body string) (status int, text string, hungUp bool) {
	w := httptest.NewRecorder()
	defer func() {
		if err, ok := recover().(error); ok && errors.Is(err, http.ErrAbortHandler) {
			hungUp = true
		}
	}()
	s.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String()), false
}

func TestWhatTheShopOffers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/api/products", "", 200, `{"id":3,"name":"Velvet curtain","price":48000,"stock":1}`},
		{"GET", "/api/products/2", "", 200, `{"id":2,"name":"Stage lamp","price":12900,"stock":3}`},
		{"GET", "/api/products/9", "", 404, `{"error":"there is no product 9"}`},
		{"GET", "/api/products/x", "", 404, `{"error":"there is no product x"}`},
		{"GET", "/api/search?q=UMBRELLA", "", 200, `[{"id":8,"name":"Understudy's umbrella","price":3100,"stock":2}]`},
		{"GET", "/api/search?q=nothing", "", 200, `[]`},
		{"GET", "/api/recommendations", "", 200, `"id":`},
		{"GET", "/api/cart", "", 200, `{"lines":0,"total":0}`},
		{"POST", "/api/cart", `{"product": 2, "number": 2}`, 200, `{"lines":1,"total":25800}`},
		{"POST", "/api/cart", `{"product": 7, "number": 1}`, 200, `{"lines":2,"total":26500}`},
		{"POST", "/api/cart", `{"product": 99, "number": 1}`, 400, `no such product`},
		{"POST", "/api/cart", `{"product": 1, "number": -1}`, 400, `not that many`},
		{"POST", "/api/cart", `nonsense`, 400, `the cart takes`},
		{"DELETE", "/api/cart/2", "", 200, `{"lines":1,"total":700}`},
		{"DELETE", "/api/cart/77", "", 404, `there is no product 77`},
		{"POST", "/api/orders", "{}", 201, `{"id":1,"state":"received"}`},
		{"GET", "/api/orders/1", "", 200, `{"id":"1","state":"on its way"}`},
		{"GET", "/api/nope", "", 404, `the shop has no /api/nope`},
		{"PUT", "/api/products", "", 404, `the shop has no /api/products`},
	}
	s := newShop(Classic)
	for _, tt := range tests {
		status, text, hungUp := visit(s, tt.method, tt.target, tt.body)
		if status != tt.status || !strings.Contains(text, tt.want) || hungUp {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.target, status, text, tt.status, tt.want)
		}
	}
	if s.Visits() != uint64(len(tests)) {
		t.Errorf("%d visits, want %d", s.Visits(), len(tests))
	}
}

func TestTrialEditionHasTheFaultsItNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(Trial)
		began := time.Now()
		if status, text, _ := visit(s, "GET", "/api/search?q=rosin", ""); status != 200 || time.Since(began) != searchDelay || !strings.Contains(text, "Rosin") {
			t.Errorf("search: %d %s after %v", status, text, time.Since(began))
		}
		if _, text, _ := visit(s, "GET", "/api/products/2", ""); text != `{"cost":"129.00","id":2,"name":"Stage lamp","stock":3}` {
			t.Errorf("product: %s", text)
		}
		failed, cut := 0, 0
		for range 20 {
			if status, _, _ := visit(s, "GET", "/api/recommendations", ""); status == 500 {
				failed++
			}
			if _, text, hungUp := visit(s, "GET", "/api/orders/1", ""); hungUp && text == "" {
				cut++
			}
		}
		if failed != 10 || cut != 2 {
			t.Errorf("%d of 20 recommendations failed, want 10; %d of 20 orders were cut, want 2", failed, cut)
		}
		time.Sleep(outageFrom - time.Since(began))
		if _, _, hungUp := visit(s, "GET", "/api/products", ""); !hungUp {
			t.Error("it answers during the outage")
		}
		time.Sleep(outageUntil - outageFrom)
		if status, _, _ := visit(s, "GET", "/api/products", ""); status != 200 {
			t.Errorf("after the outage: %d", status)
		}
		time.Sleep(outagePeriod - outageUntil + outageFrom)
		if _, _, hungUp := visit(s, "GET", "/api/products", ""); !hungUp {
			t.Error("the outage does not come again")
		}
	})
}

func TestClassicEditionHasNoFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(Classic)
		for range 40 {
			for _, path := range []string{"/api/search?q=a", "/api/recommendations", "/api/orders/1", "/api/products/1"} {
				if status, text, hungUp := visit(s, "GET", path, ""); status != 200 || hungUp {
					t.Fatalf("%s: %d %s", path, status, text)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

func TestVisitorsUseAShopUntilTheyAreCalledHome(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	enough := uint64(2 * len(errands))
	s := newShop(Classic)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r)
		if s.Visits() >= enough {
			cancel()
		}
	}))
	defer server.Close()
	v := &Visitors{Base: server.URL, PerSecond: 1000}
	v.Visit(ctx)
	sent, failed := v.Counts()
	if sent < enough || failed > 0 || sent != s.Visits() {
		t.Errorf("%d sent, %d failed, %d arrived", sent, failed, s.Visits())
	}
}

func TestAShopIsOpenUntilItIsClosed(t *testing.T) {
	t.Parallel()
	s, err := OpenShop(Classic)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + s.Address() + "/api/cart")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 200 || answer.Header.Get("X-Edition") != "classic" {
		t.Errorf("%d from edition %q", answer.StatusCode, answer.Header.Get("X-Edition"))
	}
	s.Close()
	if _, err := client.Get("http://" + s.Address() + "/api/cart"); err == nil {
		t.Error("it is open after Close")
	}
}

func TestVisitorsCountWhatFails(t *testing.T) {
	t.Parallel()
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	v := &Visitors{Base: failing.URL}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	v.run(client, errands[0], 0)
	failing.Close()
	v.run(client, errands[3], 1)
	if sent, failed := v.Counts(); sent != 2 || failed != 2 {
		t.Errorf("%d sent, %d failed; want 2, 2", sent, failed)
	}
}
