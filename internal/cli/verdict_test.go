package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/demo"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// judged is a proxy between two editions of the shop, that has seen and compared
// requests for products. It returns where to ask it.
func judged(t *testing.T, requests int) string {
	t.Helper()
	primary, err := demo.OpenShop(demo.Classic)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(primary.Close)
	shadow, err := demo.OpenShopAt(demo.Trial, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shadow.Close)
	cfg, err := config.Quick(config.QuickOptions{Listen: "127.0.0.1:0", Primary: primary.Address(), Shadow: shadow.Address(), Admin: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	i := unyielding(t, cfg)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	for n := range requests {
		r, err := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("http://%s/api/products/%d", i.server.Addrs()["web"], n%8+1), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer planted-secret")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	// Examples are replaced by others as long as pairs come.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for capture := i.server.Snapshot().Capture; capture.InFlight > 0; capture = i.server.Snapshot().Capture {
		if err := i.pairs.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.pairs.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return i.adminURL()
}

// A new price and its name are found, by everything that shows them.
func TestVerdictOfARunningProxy(t *testing.T) {
	t.Parallel()
	url := judged(t, 500)
	s, out, errOut := testStreams()
	if code := Main(t.Context(), []string{"report", "--admin", url, "--wait", "--for", "2m", "-o", "json"}, s); code != ExitNo {
		t.Fatalf("exit code %d: %s\n%s", code, errOut, out)
	}
	var report analyze.Report
	if err := json.Unmarshal([]byte(out.String()), &report); err != nil {
		t.Fatal(err)
	}
	if report.Verdict != judge.Fail || len(report.Mirrors) != 1 || len(report.Mirrors[0].Reasons) == 0 {
		t.Errorf("%s", out)
	}
	s, out, _ = testStreams()
	if code := Main(t.Context(), []string{"diffs", "--admin", url, "--class", "diff", "-o", "json"}, s); code != ExitSuccess {
		t.Fatalf("exit code %d", code)
	}
	var diffs admin.Diffs
	if err := json.Unmarshal([]byte(out.String()), &diffs); err != nil || len(diffs.Clusters) == 0 || len(diffs.Clusters[0].Examples) == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	cluster := diffs.Clusters[0]
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"clusters": {[]string{"diffs"}, []string{cluster.ID, "body.cost"}},
		"cluster":  {[]string{"diffs", cluster.ID}, []string{"body.price", "body.cost", "curl ", cluster.Examples[0]}},
		"pair":     {[]string{"diffs", "--pair", cluster.Examples[0]}, []string{"X-Edition: classic", "X-Edition: trial", `"price": `, `"cost": `}},
		"table":    {[]string{"report"}, []string{"\tFAIL\t", "mismatch", cluster.ID}},
		"junit":    {[]string{"report", "-o", "junit"}, []string{`<failure message="FAIL" type="verdict">`, "body.cost"}},
		"markdown": {[]string{"report", "-o", "markdown"}, []string{"## ❌ FAIL", "body&#46;cost"}},
	} {
		s, out, errOut := testStreams()
		want := ExitSuccess
		if tt.args[0] == "report" {
			want = ExitNo
		}
		if code := Main(t.Context(), append(tt.args, "--admin", url), s); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, want, errOut)
		}
		for _, text := range tt.want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%s: no %q in\n%s", name, text, out)
			}
		}
		if strings.Contains(out.String(), "planted-secret") {
			t.Errorf("%s shows a secret:\n%s", name, out)
		}
	}
}

// What has seen nothing yet says so, and is no success.
func TestVerdictWithoutTraffic(t *testing.T) {
	t.Parallel()
	url := judged(t, 0)
	s, out, _ := testStreams()
	if code := Main(t.Context(), []string{"report", "--admin", url}, s); code != ExitTooFew || !strings.Contains(out.String(), "NOT_ENOUGH_TRAFFIC") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	s, out, _ = testStreams()
	if code := Main(t.Context(), []string{"diffs", "--admin", url}, s); code != ExitSuccess || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
