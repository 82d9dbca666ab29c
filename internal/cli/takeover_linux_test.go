package cli

import (
	"net"
	"strings"
	"syscall"
	"testing"
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
