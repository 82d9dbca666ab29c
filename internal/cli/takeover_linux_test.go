package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/store/sqlite"
)

func TestASecondInstanceTakesOverOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	listen, admin := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	old := start(t, "--listen", listen, "--primary", backend(t, "one"), "--admin", admin)

	s, _, errOut := testStreams()
	code := Main(t.Context(), []string{"run", "--listen", listen, "--primary", backend(t, "two")}, s)
	if code != ExitNo || !strings.Contains(errOut.String(), "address already in use (--takeover replaces a running instance)") {
		t.Fatalf("without --takeover: exit code %d: %s", code, errOut)
	}

	next := start(t, "--listen", listen, "--primary", backend(t, "two"), "--admin", admin, "--takeover")
	if err := old.end(); err != nil {
		t.Error(err)
	}
	old.log.await(t, "another instance has taken over")
	if _, body := get(t, next.base+"/"); body != "two /" {
		t.Errorf("served by %s", body)
	}
	if next.admin != admin {
		t.Errorf("the admin address is %s, want that of the old instance, %s", next.admin, admin)
	}
	if got := next.status().Routes; len(got) == 0 || got[len(got)-1].Requests != 1 {
		t.Errorf("the books at the admin address are not the new instance's: %+v", got)
	}
}

func TestATakeoverThatCannotServeLeavesTheOldInstanceAlone(t *testing.T) {
	t.Parallel()
	listen := "127.0.0.1:" + freePort(t)
	old := start(t, "--listen", listen, "--primary", backend(t, "one"))
	for name, args := range map[string][]string{
		"access log":    {"--access-log", "/no/such/folder/access.log"},
		"admin address": {"--admin", "203.0.113.1:1", "--admin-token", "s3cret"},
	} {
		s, _, errOut := testStreams()
		args = append([]string{"run", "--takeover", "--listen", listen, "--primary", backend(t, "two")}, args...)
		if code := Main(t.Context(), args, s); code != ExitNo {
			t.Errorf("%s: exit code %d: %s", name, code, errOut)
		}
		if _, body := get(t, old.base+"/"); body != "one /" {
			t.Errorf("%s: served by %s", name, body)
		}
	}
}

func TestATakeoverServesEvenIfSomebodyElseHasTheAdminAddress(t *testing.T) {
	t.Parallel()
	somebody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, fileFor(backend(t, "one"), `admin: {address: "`+somebody.Addr().String()+`"}`))
	r := start(t, "-c", path, "--takeover")
	r.log.await(t, "serving without an admin address; the next reload tries again error=.*address already in use")
	if _, body := get(t, r.base+"/"); body != "one /" {
		t.Errorf("served by %s", body)
	}
	somebody.Close()
	r.signals <- syscall.SIGHUP
	r.log.await(t, "configuration is in force")
	if status, _ := get(t, "http://"+somebody.Addr().String()+"/readyz"); status != 200 {
		t.Errorf("readyz after the reload: %d", status)
	}
}

// What the old instance has learned and recorded goes on in the new one, together with
// what that has learned and recorded while the old one was still busy.
func TestATakeoverGoesOnWithWhatWasLearnedAndRecorded(t *testing.T) {
	t.Parallel()
	held, let := make(chan struct{}, 1), make(chan struct{})
	primary := says(t, func(r *http.Request) string {
		if r.URL.RawQuery == "slow" {
			held <- struct{}{}
			select {
			case <-let:
			case <-t.Context().Done(): // the test has failed
			}
		}
		return `{"price": 5}`
	})
	shadow := says(t, func(*http.Request) string { return `{"price": 6}` })
	listen, admin := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	data, record := t.TempDir(), t.TempDir()
	args := []string{
		"--listen", listen, "--admin", admin, "--primary", address(primary), "--shadow", address(shadow), "--data", data, "--record", record,
	}
	send := func(r *running, n int) {
		t.Helper()
		for range n {
			if _, body := get(t, r.base+"/things"); body != `{"price": 5}` {
				t.Fatalf("got %s", body)
			}
		}
	}
	old := start(t, args...)
	send(old, 40)
	slow := make(chan error, 1)
	go func() { // the old instance is busy with it until it is let go
		_, _, err := tryGet(old.base + "/things?slow")
		slow <- err
	}()
	<-held
	next := start(t, append(args, "--takeover")...)
	next.log.await(t, "what is learned of pairs is in memory only")
	old.log.await(t, "another instance has taken over")
	send(next, 25)
	next.awaitPairs(1) // the old one may have been given a request, and on a busy machine fewer are copied
	close(let)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if err := old.end(); err != nil {
		t.Error(err)
	}
	kept := next.log.await(t, `together with what the instance before has learned.* pairs_before=(\d+) pairs_since=(\d+)`)
	before, since := number(t, kept[1]), number(t, kept[2])
	if before < 1 || since < 1 {
		t.Errorf("%d pairs before and %d since", before, since)
	}
	send(next, 9)
	next.awaitPairs(before + since + 1)
	next.signals <- syscall.SIGTERM
	if err := next.end(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(recorded(t, record)+" ", " "); n != 75 {
		t.Errorf("%d exchanges are in the recording, want 75", n)
	}
	// And so it is after a restart, whether they count by then or still wait.
	if m := start(t, args...).awaitPairs(before + since + 1); m.Pairs+m.Held > 75 {
		t.Errorf("after a restart there are %d pairs, and %d held, want 75 in all at most", m.Pairs, m.Held)
	}
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// An instance that ends before the one it has taken over says what is lost.
func TestATakeoverThatEndsFirstSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	listen, data := "127.0.0.1:"+freePort(t), t.TempDir()
	holder, err := sqlite.Open(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, "--listen", listen, "--primary", backend(t, "one"), "--data", data, "--takeover")
	r.signals <- syscall.SIGTERM
	if err := r.end(); err != nil {
		t.Error(err)
	}
	r.log.await(t, "what was learned of pairs is lost: the instance that was taken over has not let go of the store")
	if err := holder.Close(); err != nil {
		t.Error(err)
	}
}

// awaitPairs waits until so many pairs were compared or are held, and returns what has
// been learned of them.
func (r *running) awaitPairs(want int64) *analyze.MirrorReport {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		_, body := get(r.t, "http://"+r.admin+"/api/v1/report")
		var report analyze.Report
		if err := json.Unmarshal([]byte(body), &report); err != nil {
			r.t.Fatalf("%v in %s", err, body)
		}
		if len(report.Mirrors) == 1 && report.Mirrors[0].Pairs+report.Mirrors[0].Held >= want {
			return &report.Mirrors[0]
		}
		select {
		case <-deadline:
			r.t.Fatalf("%d pairs are not there: %s", want, body)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
