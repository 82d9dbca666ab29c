package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/replay"
)

// showProgress says on stderr how far a replay is, until ctx ends.
func (o *replayOptions) showProgress(ctx context.Context, r *replay.Replay) {
	p := progress{streams: o.streams}
	defer p.say("")
	var total int64
	counted := make(chan int64, 1)
	go func() { counted <- o.total() }() // which takes long where a segment is not finished
	begun := time.Now()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case total = <-counted:
		case now := <-tick.C:
			p.say(progressLine(r.Progress(), now.Sub(begun), o.part(r.Progress(), now.Sub(begun), total)))
		}
	}
}

// total is how many exchanges are read, 0 if nobody knows.
func (o *replayOptions) total() int64 {
	survey, err := recording.Look(o.folder, nil)
	if err != nil {
		return 0 // reading it will say why
	}
	return survey.Exchanges * int64(o.loop)
}

// part is how much is done, from 0 to 1, by what ends it first.
func (o *replayOptions) part(p replay.Progress, took time.Duration, total int64) float64 {
	var part float64
	if total > 0 {
		part = float64(p.Sent+p.Skipped) / float64(total)
	}
	if o.replay.Limit > 0 {
		part = max(part, float64(p.Sent)/float64(o.replay.Limit))
	}
	if o.replay.For > 0 {
		part = max(part, float64(took)/float64(o.replay.For))
	}
	return min(part, 1)
}

// progressLine says how far it is.
func progressLine(p replay.Progress, took time.Duration, part float64) string {
	const width = 20
	full := int(part * width)
	line := fmt.Sprintf("[%s%s] %3.0f %%  %s  sent %d, %.0f/s", strings.Repeat("#", full), strings.Repeat("-", width-full), part*100,
		took.Truncate(time.Second), p.Sent, float64(p.Sent)/max(took.Seconds(), 0.001))
	for _, n := range []struct {
		count int64
		name  string
	}{{p.Failed, "failed"}, {p.Skipped, "not sent"}, {int64(p.Waiting), "waiting"}, {int64(p.Sending), "on their way"}} {
		if n.count > 0 {
			line += fmt.Sprintf(", %d %s", n.count, n.name)
		}
	}
	return line
}

// summaryLines says what was sent, and how well the pace was kept.
func summaryLines(s *replay.Summary) []string {
	pace := s.Pace
	if pace != (replay.Pace{Max: true}).String() {
		pace = "at " + pace
	}
	lines := []string{
		fmt.Sprintf("sent %d of %d requests to %s %s, in %.1f s%s", s.Sent, s.Read, s.Target, pace, s.Seconds, endings[s.End]),
		fmt.Sprintf("  %-9s %s", "answered", answered(s)),
	}
	if s.Sent > 0 && s.Completed == 0 {
		protocol, _, _ := strings.Cut(s.Target, ":")
		lines = append(lines, fmt.Sprintf("  %-9s nothing was answered: see whether the target is up, and speaks %s as this URL says", "", protocol))
	}
	if why := reasons(s.Skipped); why != "" {
		lines = append(lines, fmt.Sprintf("  %-9s %s", "not sent", why))
	}
	if s.Tokens > 0 {
		lines = append(lines, fmt.Sprintf("  %-9s %d were sent with tokens in place of secrets: --header sets what is valid now, --redacted skip leaves them out", "redacted", s.Tokens))
	}
	if s.Refused > 0 {
		lines = append(lines, fmt.Sprintf("  %-9s %d answers came faster than they could be compared", "lost", s.Refused))
	}
	if s.Sent == 0 {
		return lines
	}
	late := fmt.Sprintf("p50 %s, p99 %s, at most %s ms", millis(s.Lateness.P50), millis(s.Lateness.P99), millis(s.Lateness.Max))
	if s.Held > 0 {
		late += fmt.Sprintf("; %d waited for their session", s.Held)
	}
	if s.Crowded > 0 {
		late += fmt.Sprintf("; %d waited for --concurrency", s.Crowded)
	}
	lines = append(lines, fmt.Sprintf("  %-9s %s", "lateness", late), "  first byte, ms    p50      p95      p99      max")
	for _, row := range []struct {
		name string
		q    replay.Quantiles
	}{{"recorded", s.Recorded}, {"now", s.Latency}, {"since due", s.FromDue}} {
		if row.q == (replay.Quantiles{}) {
			continue // nothing was measured
		}
		lines = append(lines, fmt.Sprintf("    %-11s %8s %8s %8s %8s", row.name, millis(row.q.P50), millis(row.q.P95), millis(row.q.P99), millis(row.q.Max)))
	}
	return lines
}

// endings say why a replay ended, where that is not the end of the recording.
var endings = map[replay.End]string{
	replay.EndLimit: " (--limit)", replay.EndTime: " (--for is over)", replay.EndInterrupt: " (interrupted)", replay.EndError: " (the recording breaks off)",
}

func answered(s *replay.Summary) string {
	texts := []string{fmt.Sprintf("%d", s.Completed)}
	for _, status := range slices.Sorted(maps.Keys(s.Statuses)) {
		texts = append(texts, fmt.Sprintf("%d %d", status, s.Statuses[status]))
	}
	text := strings.Join(texts, ", ")
	if why := reasons(s.Failed); why != "" {
		text += "; not answered: " + why
	}
	if s.Dropped > 0 {
		text += fmt.Sprintf("; given up: %d", s.Dropped)
	}
	return text
}

// millis is a time in milliseconds with as many digits as say something.
func millis(ms float64) string {
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.2f", ms)
}
