package cli

import (
	"strings"
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
