package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/admin"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// transcript is an output that can be waited for.
type transcript struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed and renewed by each write
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
	return w.text.Write(p)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// await waits until the pattern matches, and returns what its groups do.
func (w *transcript) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		found, changed := re.FindStringSubmatch(w.text.String()), w.changed
		w.mu.Unlock()
		if found != nil {
			return found
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("nothing matches %q in:\n%s", pattern, w)
		}
	}
}

// running is a proxy started by the run command.
type running struct {
	t       *testing.T
	log     *transcript
	signals chan os.Signal
	ended   chan error
	base    string // http://host:port of the listener called web
	admin   string
}

// start runs the command in this process until the test ends.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{t: t, log: newTranscript(), signals: make(chan os.Signal, 4), ended: make(chan error, 1)}
	s, _, _ := testStreams()
	s.Err = r.log
	var opts *runOptions
	if err := parse(newCmdRun(s, func(o *runOptions) error { opts = o; return nil }), append(args, "--log-format", "text")...); err != nil {
		t.Fatal(err)
	}
	opts.signals = r.signals
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.ended <- runRun(ctx, opts) }()
	t.Cleanup(func() {
		cancel()
		r.end()
	})
	r.base = r.log.await(t, `web +(https?://\S+)`)[1]
	r.admin = strings.TrimPrefix(r.log.await(t, `admin +(http://\S+|off)`)[1], "http://")
	r.log.await(t, `\n  route `)
	return r
}

// end waits for the command; again is fine.
func (r *running) end() error {
	r.t.Helper()
	select {
	case err, ok := <-r.ended:
		if ok {
			close(r.ended)
		}
		return err
	case <-time.After(patience):
		r.t.Errorf("the proxy did not end:\n%s", r.log)
		return nil
	}
}

// get asks for a path with a connection of its own.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	status, body, err := tryGet(url)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

func tryGet(url string) (status int, body string, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func (r *running) status() *admin.Status {
	r.t.Helper()
	_, body := get(r.t, "http://"+r.admin+"/api/v1/status")
	s := new(admin.Status)
	if err := json.Unmarshal([]byte(body), s); err != nil {
		r.t.Fatalf("%v in %s", err, body)
	}
	return s
}

// backend answers with its name.
func backend(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", name, r.URL) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestRunByFlags(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 4)
	shadow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("x-understudy-copy") + " " + r.URL.Path
	}))
	t.Cleanup(shadow.Close)
	r := start(t, "--listen", "127.0.0.1:0", "--primary", "http://"+backend(t, "one"), "--shadow", shadow.URL, "--admin", "127.0.0.1:0")
	if status, body := get(t, r.base+"/hello"); status != 200 || body != "one /hello" {
		t.Errorf("%d %s", status, body)
	}
	if got := <-seen; got != "shadow /hello" {
		t.Errorf("the shadow got %q", got)
	}
	if status, _ := get(t, "http://"+r.admin+"/readyz"); status != 200 {
		t.Errorf("readyz: %d", status)
	}
	if s := r.status(); len(s.Mirrors) != 1 || s.Mirrors[0].Selected != 1 {
		t.Errorf("mirrors %+v", s.Mirrors)
	}
	r.signals <- syscall.SIGTERM
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if _, _, err := tryGet(r.base); err == nil {
		t.Error("it serves after its end")
	}
}

func TestRunWithoutAnAdminAddressSaysHowToGetOne(t *testing.T) {
	t.Parallel()
	r := start(t, "--listen", "127.0.0.1:0", "--primary", backend(t, "one"))
	if r.admin != "off" || !strings.Contains(r.log.String(), "off; --admin 127.0.0.1:9900 turns status and metrics on") {
		t.Errorf("admin %s:\n%s", r.admin, r.log)
	}
}

func TestTheLogForMachinesHasNoBanner(t *testing.T) {
	t.Parallel()
	log := newTranscript()
	s, _, _ := testStreams()
	s.Err = log
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"run", "--listen", "127.0.0.1:0", "--primary", "127.0.0.1:1", "--admin", "127.0.0.1:0", "--log-level", "INFO"}, s)
	}()
	log.await(t, `"msg":"serving"`)
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(log.String()) {
		var entry struct{ Msg, Address, Admin string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%v in %q", err, line)
		}
		if entry.Msg == "listening" && !strings.HasPrefix(entry.Address, "127.0.0.1:") || entry.Msg == "serving" && !strings.HasPrefix(entry.Admin, "http://127.0.0.1:") {
			t.Errorf("the bound address is missing: %s", line)
		}
	}
}

// fileFor is a configuration whose primary is at address.
func fileFor(primary, more string) string {
	return fmt.Sprintf(`
listeners: [{name: web, address: "127.0.0.1:0"}]
routes: [{name: all, rules: [{backends: [{name: one}]}]}]
backends: [{name: one, endpoints: [%q]}]
%s
`, primary, more)
}

const adminSection = `admin: {address: "127.0.0.1:0"}`

// replace puts a file in place as editors and deployments do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestAChangedFileIsInForceWithoutARestart(t *testing.T) {
	t.Parallel()
	path := writeFile(t, fileFor(backend(t, "one"), adminSection))
	r := start(t, "-c", path)
	if _, body := get(t, r.base+"/"); body != "one /" {
		t.Fatal(body)
	}
	replace(t, path, fileFor(backend(t, "two"), adminSection))
	r.log.await(t, "configuration is in force")
	if _, body := get(t, r.base+"/"); body != "two /" {
		t.Errorf("after the change: %s", body)
	}
	if s := r.status(); s.Reloads != 1 || s.ReloadsFailed != 0 {
		t.Errorf("%d reloads, %d failed", s.Reloads, s.ReloadsFailed)
	}
}

func TestAFileThatDoesNotValidateChangesNothingAndSaysWhy(t *testing.T) {
	t.Parallel()
	path := writeFile(t, fileFor(backend(t, "one"), adminSection))
	r := start(t, "-c", path)
	before := r.status()
	replace(t, path, fileFor("nonsense", adminSection+"\nworkers: -1\nclient: {headLimit: lots}"))
	for _, problem := range []string{`:4: backends\[0\].endpoints\[0\]`, `:6: workers`, `:7: client.headLimit`} {
		r.log.await(t, `configuration refused, nothing has changed problem=.*`+problem)
	}
	after := r.status()
	if after.Config != before.Config || after.ReloadsFailed != 1 || after.Reloads != 0 {
		t.Errorf("configuration %s, then %s; %d reloads, %d failed", before.Config, after.Config, after.Reloads, after.ReloadsFailed)
	}
	if _, body := get(t, r.base+"/"); body != "one /" {
		t.Errorf("the old configuration does not serve: %s", body)
	}
}

func TestHangupReadsTheFileAgainAndContinuesTheAccessLogInANewOne(t *testing.T) {
	t.Parallel()
	logFile := filepath.Join(t.TempDir(), "access.log")
	path := writeFile(t, fileFor(backend(t, "one"), adminSection+"\naccessLog: {path: "+logFile+"}"))
	r := start(t, "-c", path)
	get(t, r.base+"/first")
	awaitLines(t, r, 1)
	if err := os.Rename(logFile, logFile+".1"); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	r.log.await(t, "configuration is in force")
	get(t, r.base+"/second")
	r.signals <- syscall.SIGTERM
	if err := r.end(); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{logFile + ".1": "/first", logFile: "/second"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var line struct {
			Path      string
			Status    int
			RequestID string  `json:"request_id"`
			Duration  float64 `json:"duration_ms"`
			Primary   struct{ Backend, Endpoint string }
		}
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if line.Path != want || line.Status != 200 || line.RequestID == "" || line.Primary.Backend != "one" || line.Duration <= 0 {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// awaitLines waits until so many lines of the access log were written.
func awaitLines(t *testing.T, r *running, n uint64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for r.status().AccessLog.Written < n {
		if time.Now().After(deadline) {
			t.Fatalf("%d lines were not written", n)
		}
	}
}

func TestTheAdminAddressMovesWithTheFile(t *testing.T) {
	t.Parallel()
	primary := backend(t, "one")
	path := writeFile(t, fileFor(primary, adminSection))
	r := start(t, "-c", path)
	old := r.admin
	free := freePort(t)
	replace(t, path, fileFor(primary, `admin: {address: "127.0.0.1:`+free+`", token: s3cret}`))
	r.log.await(t, "configuration is in force")
	if status, _ := get(t, "http://127.0.0.1:"+free+"/metrics"); status != 401 {
		t.Errorf("the new address answers %d without the token", status)
	}
	if _, _, err := tryGet("http://" + old + "/metrics"); err == nil {
		t.Error("the old address still answers")
	}
}

// freePort draws a port below those that outgoing connections get: nothing takes
// it between now and its use, but for a test that draws the same of 12,000 in
// that moment.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
}

func TestAConfigurationIsAppliedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	primary := backend(t, "one")
	other := backend(t, "two")
	inUse := taken.Addr().String()
	tests := map[string]string{
		"admin address in use":         fileFor(other, `admin: {address: "`+inUse+`"}`),
		"access log without a folder":  fileFor(other, adminSection+"\naccessLog: {path: /no/such/folder/access.log}"),
		"listener's address is in use": strings.Replace(fileFor(other, `admin: {address: "127.0.0.1:`+freePort(t)+`"}`), `"127.0.0.1:0"`, `"`+inUse+`"`, 1),
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, fileFor(primary, adminSection))
			r := start(t, "-c", path)
			before := r.status().Config
			replace(t, path, text)
			r.log.await(t, "configuration refused, nothing has changed error=")
			if after := r.status(); after.Config != before || after.ReloadsFailed != 1 {
				t.Errorf("configuration %s, then %s; %d refused", before, after.Config, after.ReloadsFailed)
			}
			if _, body := get(t, r.base+"/"); body != "one /" {
				t.Errorf("served by %s", body)
			}
		})
	}
}

// slowBackend answers when it is told to.
func slowBackend(t *testing.T) (address string, asked chan struct{}, answer chan struct{}) {
	t.Helper()
	asked, answer = make(chan struct{}, 1), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-answer:
			io.WriteString(w, "late")
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), asked, answer
}

func TestASignalLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	address, asked, answer := slowBackend(t)
	r := start(t, "--listen", "127.0.0.1:0", "--primary", address, "--admin", "127.0.0.1:0")
	got := make(chan string, 1)
	go func() {
		_, body, err := tryGet(r.base + "/")
		got <- fmt.Sprint(body, err)
	}()
	<-asked
	r.signals <- syscall.SIGTERM
	awaitDraining(t, r)
	if _, body := get(t, "http://"+r.admin+"/readyz"); !strings.Contains(body, "draining") {
		t.Errorf("readyz: %s", body)
	}
	close(answer)
	if text := <-got; text != "late<nil>" {
		t.Errorf("the request that was under way got %s", text)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func awaitDraining(t *testing.T, r *running) {
	t.Helper()
	r.log.await(t, "finishing requests and copies; a second signal ends at once")
	deadline := time.Now().Add(patience)
	for {
		if status, _ := get(t, "http://"+r.admin+"/readyz"); status == http.StatusServiceUnavailable {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("readyz does not say that the proxy drains")
		}
	}
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	address, asked, _ := slowBackend(t)
	r := start(t, "--listen", "127.0.0.1:0", "--primary", address, "--admin", "127.0.0.1:0")
	failed := make(chan error, 1)
	go func() {
		_, _, err := tryGet(r.base + "/")
		failed <- err
	}()
	<-asked
	r.signals <- syscall.SIGINT
	awaitDraining(t, r)
	r.signals <- syscall.SIGHUP // is no signal to end
	r.signals <- syscall.SIGINT
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("the request was not cut off")
	}
}

func TestRunRefusesWhatCannotBeServed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	inUse := taken.Addr().String()
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":              {nil, 2, "say what to run: -c FILE, or at least --listen and --primary"},
		"no primary":           {[]string{"--listen", ":0"}, 2, "--primary"},
		"file and flags":       {[]string{"-c", "x", "--percent", "5"}, 2, "--percent cannot be used with -c: write it into the file"},
		"file that is missing": {[]string{"-c", "no/such.yaml"}, 1, "read configuration: open no/such.yaml: no such file"},
		"standard input":       {[]string{"-c", "-"}, 2, "-c - cannot be read again when it changes: name a file"},
		"bad driver":           {[]string{"--listen", ":0", "--primary", "a:1", "--driver", "iouring"}, 2, "--driver: "},
		"bad log level":        {[]string{"--listen", ":0", "--primary", "a:1", "--log-level", "loud"}, 2, `--log-level: "loud" is none of`},
		"bad log format":       {[]string{"--listen", ":0", "--primary", "a:1", "--log-format", "xml"}, 2, `--log-format: log format "xml" is none of`},
		"bad percent":          {[]string{"--listen", ":0", "--primary", "a:1", "--shadow", "b:1", "--percent", "101"}, 2, "--percent"},
		"listener in use":      {[]string{"--listen", inUse, "--primary", "a:1"}, 1, "address already in use"},
		"admin in use":         {[]string{"--listen", "127.0.0.1:0", "--primary", "a:1", "--admin", inUse}, 1, "open admin address: "},
		"admin without token":  {[]string{"--listen", "127.0.0.1:0", "--primary", "a:1", "--admin", "0.0.0.0:0"}, 2, "--admin-token"},
		"access log":           {[]string{"--listen", "127.0.0.1:0", "--primary", "a:1", "--access-log", "/no/such/folder/x"}, 1, "open access log: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, errOut := testStreams()
			if code := Main(t.Context(), append([]string{"run"}, tt.args...), s); code != tt.code || !strings.Contains(errOut.String(), tt.want) {
				t.Errorf("exit code %d, want %d: %s, want %s", code, tt.code, errOut, tt.want)
			}
		})
	}
}

func TestRunFlags(t *testing.T) {
	s, _, _ := testStreams()
	var got *runOptions
	keep := func(o *runOptions) error { got = o; return nil }
	t.Setenv(tokenVariable, "from-env")
	err := parse(newCmdRun(s, keep), "--listen", ":1", "--primary", "a:1", "--shadow", "b:1", "--shadow", "c:1", "--shadow-writes",
		"--admin", "d:1", "--workers", "3", "--access-log", "-", "--driver", "go", "--pprof", "--takeover")
	if err != nil {
		t.Fatal(err)
	}
	q := got.quick
	if q.Listen != ":1" || q.Primary != "a:1" || strings.Join(q.Shadows, " ") != "b:1 c:1" || !q.ShadowWrites || q.Admin != "d:1" || q.Workers != 3 || q.AccessLog != "-" {
		t.Errorf("%+v", q)
	}
	if q.Percent != nil {
		t.Errorf("percent is %v although it was not given", *q.Percent)
	}
	if q.AdminToken != "from-env" {
		t.Errorf("token %q", q.AdminToken)
	}
	if got.serve != (serveFlags{driver: "go", logLevel: "info", logFormat: "auto", pprof: true, takeover: true}) {
		t.Errorf("%+v", got.serve)
	}
	if err := parse(newCmdRun(s, keep), "--listen", ":1", "--primary", "a:1", "--percent", "0"); err != nil || got.quick.Percent == nil || *got.quick.Percent != 0 {
		t.Errorf("--percent 0: %v, %v", err, got.quick.Percent)
	}
	if got.quick.AdminToken != "" {
		t.Error("a token without an admin address is a mistake, and none was made here")
	}
}
