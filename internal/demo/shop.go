package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Edition is a version of the shop.
type Edition string

// The editions. Trial is a rewrite that is not ready for the stage: see Faults.
const (
	Classic Edition = "classic"
	Trial   Edition = "trial"
)

// Faults says what is wrong with the trial edition, for people.
var Faults = []string{
	"GET /api/search takes 250 ms longer",
	"GET /api/recommendations answers 500 for every other visitor",
	"GET /api/products/{id} calls the price \"cost\", and makes it a text",
	"GET /api/orders/{id} hangs up in the middle of every tenth answer",
	"from second 12 to 16 of every half minute it hangs up on everybody",
}

const (
	searchDelay  = 250 * time.Millisecond
	outageFrom   = 12 * time.Second
	outageUntil  = 16 * time.Second
	outagePeriod = 30 * time.Second
)

// Shop is a running shop on a loopback port. Everybody shares one cart.
type Shop struct {
	edition  Edition
	steady   bool // no outages
	started  time.Time
	listener net.Listener
	server   *http.Server
	served   chan struct{}
	visits   atomic.Uint64
	orders   atomic.Uint64
	advised  atomic.Uint64 // visitors who wanted recommendations
	asked    atomic.Uint64 // visitors who asked for an order

	mu   sync.Mutex
	cart map[int]int // product id to number
}

// product is something to buy; money is in cents.
type product struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Price int    `json:"price"`
	Stock int    `json:"stock"`
}

var products = []product{
	{1, "Prompt book", 1800, 12}, {2, "Stage lamp", 12900, 3}, {3, "Velvet curtain", 48000, 1}, {4, "Opera glasses", 6400, 20},
	{5, "Half mask", 2200, 44}, {6, "Trapdoor hinge", 950, 130}, {7, "Rosin", 700, 60}, {8, "Understudy's umbrella", 3100, 2},
}

// maxCart bounds what one request may put into the cart, and its body.
const maxCart = 1000

// Editions lists all of them. It must not be changed.
var Editions = []Edition{Classic, Trial}

// OpenShop starts a shop on a free port of loopback. The caller must Close it.
func OpenShop(e Edition) (*Shop, error) { return open(newShop(e), "127.0.0.1:0") }

// OpenShopAt starts a shop at an address, without the fault that depends on when
// that was: what somebody tries out with it comes out the same at any time. The
// caller must Close it.
func OpenShopAt(e Edition, address string) (*Shop, error) {
	s := newShop(e)
	s.steady = true
	return open(s, address)
}

func open(s *Shop, address string) (*Shop, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open the shop: %w", err)
	}
	s.listener = l
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(s.served)
		// It only returns because of Close.
		_ = s.server.Serve(l)
	}()
	return s, nil
}

func newShop(e Edition) *Shop {
	return &Shop{edition: e, started: time.Now(), served: make(chan struct{}), cart: map[int]int{}}
}

// Address is host:port.
func (s *Shop) Address() string { return s.listener.Addr().String() }

// Visits counts the requests that came.
func (s *Shop) Visits() uint64 { return s.visits.Load() }

// Close shuts the shop, whoever is in it.
func (s *Shop) Close() {
	s.server.Close()
	<-s.served
}

// ServeHTTP implements http.Handler.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	visit := s.visits.Add(1)
	if s.edition == Trial && s.spoil(w, r) {
		return
	}
	w.Header().Set("X-Edition", string(s.edition))
	path := strings.TrimPrefix(r.URL.Path, "/api/")
	folder, id, _ := strings.Cut(path, "/")
	switch r.Method + " " + folder {
	case "GET products":
		s.products(w, id)
	case "GET search":
		answer(w, http.StatusOK, search(r.URL.Query().Get("q")))
	case "GET recommendations":
		answer(w, http.StatusOK, products[visit%4:visit%4+3])
	case "GET cart", "POST cart", "DELETE cart":
		s.useCart(w, r, id)
	case "GET orders":
		answer(w, http.StatusOK, map[string]any{"id": id, "state": "on its way"})
	case "POST orders":
		answer(w, http.StatusCreated, map[string]any{"id": s.orders.Add(1), "state": "received"})
	default:
		answer(w, http.StatusNotFound, map[string]string{"error": "the shop has no " + r.URL.Path})
	}
}

// spoil plants the faults; true if that was the answer.
func (s *Shop) spoil(w http.ResponseWriter, r *http.Request) bool {
	since := time.Since(s.started) % outagePeriod
	switch {
	case !s.steady && since >= outageFrom && since < outageUntil:
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/api/search":
		wait(r.Context(), searchDelay)
	case r.URL.Path == "/api/recommendations" && s.advised.Add(1)%2 == 0:
		answer(w, http.StatusInternalServerError, map[string]string{"error": "list index out of range"})
		return true
	case strings.HasPrefix(r.URL.Path, "/api/orders/") && s.asked.Add(1)%10 == 0:
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, `{"id":`)
		// The rest of the promised bytes never come.
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	return false
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Shop) products(w http.ResponseWriter, id string) {
	if id == "" {
		answer(w, http.StatusOK, products)
		return
	}
	p, err := find(id)
	switch {
	case err != nil:
		answer(w, http.StatusNotFound, map[string]string{"error": err.Error()})
	case s.edition == Trial:
		answer(w, http.StatusOK, map[string]any{"id": p.ID, "name": p.Name, "cost": fmt.Sprintf("%d.%02d", p.Price/100, p.Price%100), "stock": p.Stock})
	default:
		answer(w, http.StatusOK, p)
	}
}

func find(id string) (product, error) {
	n, err := strconv.Atoi(id)
	if err != nil || n < 1 || n > len(products) {
		return product{}, errors.New("there is no product " + id)
	}
	return products[n-1], nil
}

func search(q string) []product {
	found := []product{}
	for _, p := range products {
		if strings.Contains(strings.ToLower(p.Name), strings.ToLower(q)) {
			found = append(found, p)
		}
	}
	return found
}

// useCart looks into the cart, puts something in or takes it out.
func (s *Shop) useCart(w http.ResponseWriter, r *http.Request, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodPost:
		var line struct{ Product, Number int }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxCart)).Decode(&line); err != nil {
			answer(w, http.StatusBadRequest, map[string]string{"error": "the cart takes {\"product\": 1, \"number\": 1}"})
			return
		}
		p, err := find(strconv.Itoa(line.Product))
		if err != nil || line.Number < 1 || line.Number > maxCart {
			answer(w, http.StatusBadRequest, map[string]string{"error": "there is no such product, or not that many"})
			return
		}
		s.cart[p.ID] += line.Number
	case http.MethodDelete:
		p, err := find(id)
		if err != nil {
			answer(w, http.StatusNotFound, map[string]string{"error": err.Error()})
			return
		}
		delete(s.cart, p.ID)
	}
	total := 0
	for id, n := range s.cart {
		total += n * products[id-1].Price
	}
	answer(w, http.StatusOK, map[string]any{"lines": len(s.cart), "total": total})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A visitor who has left needs no answer.
	_ = json.NewEncoder(w).Encode(v)
}
