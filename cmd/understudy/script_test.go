package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/understudy-proxy/understudy/internal/cli"
)

var update = flag.Bool("update", false, "rewrite the expected outputs in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"understudy": func() {
		os.Exit(cli.Main(context.Background(), os.Args[1:], cli.System()))
	}})
}

// TestScripts runs the program as people do. Besides what testscript offers,
// scripts have:
//
//	port NAME…             set variables to free ports of loopback
//	upstream NAME TEXT     start a server that answers TEXT and the path; its address is $NAME
//	get URL [PATTERN]      until it answers, and its status and body match; the body goes to stdout
//	signal NAME TEXT       send HUP or TERM to the background command whose line has TEXT
//	exit CODE COMMAND…     run a command that ends with that exit code
//	expand FROM TO         write a file with its $VARIABLES replaced
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			// Built with the race detector, the program would sleep for a
			// second before each of its ends.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"port": port, "upstream": upstream, "get": get, "exit": exit, "expand": expand, "signal": signal,
		},
	})
}

func port(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		for {
			// Below the ports that outgoing connections get: nothing takes one of
			// these between now and its use, but for a test that draws the same
			// of 12,000 in that moment.
			port := strconv.Itoa(20000 + rand.IntN(12000))
			if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
				l.Close()
				ts.Setenv(name, port)
				break
			}
		}
	}
}

func upstream(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: upstream NAME TEXT")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s\n", args[1], r.URL)
	})}
	go server.Serve(l)
	ts.Defer(func() { server.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// get polls: what it waits for happens in another process.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 || neg {
		ts.Fatalf("usage: get URL [PATTERN]")
	}
	pattern := ""
	if len(args) == 2 {
		pattern = args[1]
	}
	re, err := regexp.Compile(pattern)
	ts.Check(err)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(20 * time.Second)
	for {
		status, body, err := fetch(args[0])
		if err == nil && re.MatchString(fmt.Sprint(status, " ", body)) && (pattern != "" || status == http.StatusOK) {
			io.WriteString(ts.Stdout(), body)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s answers %d %q (%v)", args[0], status, body, err)
		}
		<-tick.C
	}
}

func fetch(url string) (status int, body string, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func exit(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exit CODE COMMAND…")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: expand FROM TO")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

func signal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}
	if len(args) != 2 || neg || signals[args[0]] == nil {
		ts.Fatalf("usage: signal HUP|TERM TEXT")
	}
	for _, cmd := range ts.BackgroundCmds() {
		if strings.Contains(strings.Join(cmd.Args, " "), args[1]) {
			ts.Check(cmd.Process.Signal(signals[args[0]]))
			return
		}
	}
	ts.Fatalf("no background command has %q", args[1])
}
