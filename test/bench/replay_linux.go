package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/understudy-proxy/understudy/internal/recording"
	"github.com/understudy-proxy/understudy/internal/replay"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/test/load"
)

// Of a recording that is replayed: as many clients as requests may be on their
// way, so that no session holds up the schedule, and answers of a kilobyte.
const (
	replayClients = 250
	replayBytes   = 1000
)

// replay makes a recording, replays it with the built binary against a fast
// server at a fixed rate and as fast as possible, and prints how well the
// schedule was kept.
func (b *bench) replay(ctx context.Context) error {
	program, err := find("understudy", b.options.understudy)
	if err != nil {
		return err
	}
	target, err := load.StartUpstreamProcess(load.UpstreamOptions{AnswerBytes: replayBytes})
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "replay")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	count := 100_000
	if b.options.quick {
		count = 10_000
	}
	b.log("recording %d requests", count)
	if err := makeRecording(ctx, folder, "http://"+target.Addr(), count); err != nil {
		return err
	}
	fmt.Printf("%d requests, answers of %d bytes; lateness and latency in ms\n\n", count, replayBytes)
	fmt.Println("| pace | sent | failed | not sent | not compared | per second | schedule p99 | lateness p50 | p99 | max | first byte p50 | p99 | since due p99 |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, pace := range [][]string{{"--rate", strconv.FormatFloat(b.options.rate, 'f', -1, 64)}, {"--speed", "max", "--concurrency", "64"}} {
		b.log("replaying at %v", pace)
		s, err := runReplay(ctx, program, append([]string{"replay", folder, "--target", "http://" + target.Addr(), "-o", "json"}, pace...))
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %d | %d | %d | %d | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", s.Pace, s.Sent, s.Sent-s.Completed, s.Read-s.Sent, s.Refused,
			float64(s.Sent)/s.Seconds, s.Schedule.P99, s.Lateness.P50, s.Lateness.P99, s.Lateness.Max, s.Latency.P50, s.Latency.P99, s.FromDue.P99)
	}
	return nil
}

// makeRecording writes exchanges with the answer that a server gives now.
func makeRecording(ctx context.Context, folder, url string, count int) error {
	answer, err := askOnce(ctx, url)
	if err != nil {
		return err
	}
	w, err := recording.Create(folder, recording.Options{})
	if err != nil {
		return err
	}
	begun := time.Now().Add(-time.Hour)
	for i := range count {
		x := &traffic.Exchange{
			ID: strconv.Itoa(i), Start: begun.Add(time.Duration(i) * time.Millisecond), Method: "GET", Path: "/item", Query: "n=" + strconv.Itoa(i),
			Client: netip.AddrFrom4([4]byte{10, 0, 0, byte(i % replayClients)}), Status: 200,
			Request: &traffic.Message{Head: fmt.Appendf(nil, "GET /item?n=%d HTTP/1.1\r\nHost: shop.example.com\r\nAccept: */*\r\n", i), Whole: true},
			Primary: traffic.Outcome{Status: 200, Bytes: answer.Length, First: time.Millisecond, End: time.Millisecond, Answer: answer},
		}
		if !w.Offer(x) { // the disk is behind
			if err := w.Sync(ctx); err != nil {
				return errors.Join(err, w.Close(ctx))
			}
			if !w.Offer(x) {
				return errors.Join(errors.New("the writer refuses exchanges"), w.Close(ctx))
			}
		}
	}
	return w.Close(ctx)
}

func askOnce(ctx context.Context, url string) (*traffic.Message, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "HTTP/1.1 %s\r\n", answer.Status)
	if err := answer.Header.Write(&head); err != nil {
		return nil, err
	}
	return &traffic.Message{Head: head.Bytes(), Body: body, Length: int64(len(body)), Whole: true}, nil
}

// runReplay runs a replay and reads its summary. What it thinks of the answers
// does not matter here.
func runReplay(ctx context.Context, program string, args []string) (*replay.Summary, error) {
	var errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return nil, err
	}
	var said struct {
		Replay *replay.Summary `json:"replay"`
	}
	if jsonErr := json.Unmarshal(out, &said); jsonErr != nil || said.Replay == nil {
		return nil, fmt.Errorf("%s: %w: %s", program, cmp.Or(err, jsonErr), errOut.String())
	}
	return said.Replay, nil
}
