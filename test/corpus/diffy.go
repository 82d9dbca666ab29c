package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// diffy judges by the rule that Diffy publishes: a field is shown if it differs
// between primary and candidate more often than between primary and secondary,
// by more than 20 % of both and more than 0.03 % of all. Arrays are compared place
// by place if they are of one length. It is given what a careful user would give
// it: a template for every endpoint.
type diffy struct {
	exchanges chan *traffic.Exchange
	done      chan struct{}

	mu    sync.Mutex
	total map[string]int // by endpoint
	raw   map[place]int
	noise map[place]int
}

// place is a field of an endpoint, and how it differs.
type place struct{ endpoint, path, kind string }

const (
	diffyRelative = 20.0
	diffyAbsolute = 0.03
)

func newDiffy() *diffy {
	d := &diffy{exchanges: make(chan *traffic.Exchange, 1<<14), done: make(chan struct{}), total: map[string]int{}, raw: map[place]int{}, noise: map[place]int{}}
	go func() {
		defer close(d.done)
		for x := range d.exchanges {
			d.judge(x)
		}
	}()
	return d
}

func (d *diffy) close() { close(d.exchanges); <-d.done }

// offer takes what it needs of x, which stays the caller's.
func (d *diffy) offer(x *traffic.Exchange) {
	if len(x.Copies) != 2 || x.Primary.Answer == nil || x.Copies[0].Answer == nil || x.Copies[1].Answer == nil || strings.HasPrefix(x.Path, "/grpc") {
		return
	}
	kept := &traffic.Exchange{Method: x.Method, Path: x.Path, Primary: keep(&x.Primary), Copies: []traffic.Outcome{keep(&x.Copies[0]), keep(&x.Copies[1])}}
	d.exchanges <- kept
}

func keep(o *traffic.Outcome) traffic.Outcome {
	m := *o.Answer
	m.Head, m.Body = slices.Clone(m.Head), slices.Clone(m.Body)
	return traffic.Outcome{Mirror: o.Mirror, Status: o.Status, Answer: &m}
}

func (d *diffy) judge(x *traffic.Exchange) {
	endpoint := templateOf(x.Method, x.Path)
	primary := lift(&x.Primary)
	raw, noise := map[place]bool{}, map[place]bool{}
	for i := range x.Copies {
		found := raw
		if x.Copies[i].Mirror == "second" {
			found = noise
		}
		differ(primary, lift(&x.Copies[i]), "", func(path, kind string) { found[place{endpoint, path, kind}] = true })
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total[endpoint]++
	for p := range raw {
		d.raw[p]++
	}
	for p := range noise {
		d.noise[p]++
	}
}

// shown are the fields that the rule shows by now.
func (d *diffy) shown() []place {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []place
	for p, n := range d.raw {
		raw, noise := float64(n), float64(d.noise[p])
		if raw > noise && (raw-noise)/(raw+noise)*100 > diffyRelative && (raw-noise)/float64(d.total[p.endpoint])*100 > diffyAbsolute {
			list = append(list, p)
		}
	}
	return list
}

// templateOf names the endpoints of the corpus.
func templateOf(method, path string) string {
	for _, before := range []string{"/shop/api/products/", "/shop/api/orders/", "/bin/bytes/"} {
		if strings.HasPrefix(path, before) {
			return method + " " + before + "{id}"
		}
	}
	return method + " " + path
}

func lift(o *traffic.Outcome) any {
	var body any = string(o.Answer.Body)
	var parsed any
	if json.Unmarshal(o.Answer.Body, &parsed) == nil {
		body = parsed
	}
	headers := map[string]any{}
	for line := range strings.Lines(string(o.Answer.Head)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			headers[strings.ToLower(name)] = strings.TrimSpace(value)
		}
	}
	return map[string]any{"status": float64(o.Status), "headers": headers, "body": body}
}

func differ(a, b any, path string, say func(path, kind string)) {
	switch left := a.(type) {
	case map[string]any:
		right, ok := b.(map[string]any)
		if !ok {
			say(path, "type")
			return
		}
		keys := maps.Clone(left)
		maps.Copy(keys, right)
		for k := range keys {
			l, inLeft := left[k]
			r, inRight := right[k]
			switch {
			case !inLeft:
				say(path+"."+k, "extra")
			case !inRight:
				say(path+"."+k, "missing")
			default:
				differ(l, r, path+"."+k, say)
			}
		}
	case []any:
		right, ok := b.([]any)
		switch {
		case !ok:
			say(path, "type")
		case reflect.DeepEqual(left, right):
		case reflect.DeepEqual(sorted(left), sorted(right)):
			say(path, "order")
		case len(left) != len(right):
			say(path, "size")
		default:
			for i := range left {
				differ(left[i], right[i], path, say)
			}
		}
	default:
		if reflect.TypeOf(a) != reflect.TypeOf(b) {
			say(path, "type")
		} else if a != b {
			say(path, "value")
		}
	}
}

func sorted(list []any) []string {
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = fmt.Sprint(e)
	}
	slices.Sort(texts)
	return texts
}
