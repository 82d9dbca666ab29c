package recording

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// child runs a role of TestMain as a process of its own.
func child(t *testing.T, role, dir string) (*exec.Cmd, io.ReadCloser) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RECORDING_CHILD="+role, "RECORDING_DIRECTORY="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // if the test failed before
	return cmd, out
}

// recordForever records numbered exchanges from the first on, and prints how many
// are acknowledged whenever that has changed.
func recordForever(dir string) {
	w, err := Create(dir, Options{Sync: 5 * time.Millisecond, Segment: 256 << 10})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	said := uint64(0)
	for n := 0; ; n++ {
		for x := newNumbered(n); !w.Offer(x); {
			_ = w.Sync(context.Background())
		}
		if now := w.Acknowledged(); now != said {
			said = now
			fmt.Println("acknowledged", now)
		}
	}
}

// TestNothingAcknowledgedIsLostByKilling kills a process ten times while it
// records, each time after it has acknowledged more than before.
func TestNothingAcknowledgedIsLostByKilling(t *testing.T) {
	t.Parallel()
	for round := range 10 {
		dir := t.TempDir()
		cmd, out := child(t, "record", dir)
		acknowledged := 0
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n, found := strings.CutPrefix(lines.Text(), "acknowledged ")
			if !found {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
			acknowledged, _ = strconv.Atoi(n)
			if acknowledged > 50*(1+round*round) { // in different places of blocks and segments
				break
			}
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// What it said until it was killed counts too.
		for lines.Scan() {
			if n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "acknowledged ")); err == nil {
				acknowledged = n // a line that was cut is less, or no number
			}
		}
		_ = cmd.Wait() // it was killed
		got, problems := readWithProblems(t, dir)
		for _, p := range problems {
			if !p.Tail {
				t.Errorf("round %d: %v", round, p)
			}
		}
		if len(got) < acknowledged {
			t.Fatalf("round %d: %d exchanges were acknowledged, and %d are there", round, acknowledged, len(got))
		}
		for i, x := range got {
			if want := numbered(i); x.ID != want.ID || !bytes.Equal(x.Copies[0].Answer.Body, want.Copies[0].Answer.Body) {
				t.Fatalf("round %d: exchange %d is %s, want %s", round, i, x.ID, want.ID)
			}
		}
		record(t, dir, 1) // the folder can be written to again
		if again, _ := readWithProblems(t, dir); len(again) != len(got)+1 || again[len(got)].ID != numbered(0).ID {
			t.Fatalf("round %d: %d exchanges after another writer, want %d", round, len(again), len(got)+1)
		}
	}
}

// recordWithinALimit has the system refuse files of more than 64 KiB, records more
// than that, and lifts the limit.
func recordWithinALimit(dir string) {
	// The signal is ignored by Go already; the write fails.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Println("error", err)
	}
	before := limit.Cur
	set := func(n uint64) {
		limit.Cur = n
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Println("error", err)
		}
	}
	set(64 << 10)
	w, err := Create(dir, Options{Memory: 4 << 20, Sync: time.Hour})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for n := 0; w.Offer(numbered(n)); n++ {
	}
	full := w.Sync(context.Background())
	fmt.Println("full", full)
	set(before)
	fmt.Println("again", w.Sync(context.Background()))
	c := w.Counts()
	fmt.Println("counts", c.Accepted, c.Acknowledged, c.Behind)
	fmt.Println("closed", w.Close(context.Background()))
}

// TestAFullDiskStopsRecordingUntilThereIsRoom has the system itself refuse to write.
func TestAFullDiskStopsRecordingUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, out := child(t, "limited", dir)
	said, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	lines := strings.Split(string(said), "\n")
	if len(lines) < 4 || !strings.HasSuffix(lines[0], "file too large") || lines[1] != "again <nil>" || lines[3] != "closed <nil>" {
		t.Fatalf("got\n%s", said)
	}
	var accepted, acknowledged, behind int
	if n, err := fmt.Sscanf(lines[2], "counts %d %d %d", &accepted, &acknowledged, &behind); n != 3 || accepted != acknowledged || behind != 1 {
		t.Fatalf("got %s, %v", lines[2], err)
	}
	got := readAll(t, dir)
	if len(got) != accepted {
		t.Fatalf("%d exchanges were accepted, and %d are there", accepted, len(got))
	}
	for i, x := range got {
		if x.ID != numbered(i).ID {
			t.Fatalf("exchange %d is %s, want %s", i, x.ID, numbered(i).ID)
		}
	}
}

// faultyDisk makes files whose operations fail while it says so.
type faultyDisk struct {
	write, sync atomic.Bool // fail
	half        atomic.Bool // a write that fails leaves half behind
}

var errFull = errors.New("no space left on device")

func (d *faultyDisk) open(path string) (file, error) {
	f, err := openFile(path)
	return &faultyFile{f, d}, err
}

type faultyFile struct {
	file
	disk *faultyDisk
}

func (f *faultyFile) WriteAt(p []byte, at int64) (int, error) {
	if !f.disk.write.Load() || at == 0 {
		return f.file.WriteAt(p, at)
	}
	if f.disk.half.Load() {
		_, _ = f.file.WriteAt(p[:len(p)/2], at)
	}
	return 0, errFull
}

func (f *faultyFile) Sync() error {
	if f.disk.sync.Load() {
		return errFull
	}
	return f.file.Sync()
}

// Truncate fails, so that readers meet what is left of a block.
func (f *faultyFile) Truncate(int64) error { return errFull }

func TestAfterAnErrorEverythingIsWrittenAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, test := range []struct {
		name      string
		fail      func(*faultyDisk, bool)
		duplicate int // exchanges that are there twice: nobody knew whether the first time counted
		tails     int
	}{
		{"write", func(d *faultyDisk, on bool) { d.write.Store(on) }, 0, 0},
		{"half a write", func(d *faultyDisk, on bool) { d.half.Store(true); d.write.Store(on) }, 0, 1},
		{"sync", func(d *faultyDisk, on bool) { d.sync.Store(on) }, 2, 0},
	} {
		dir, disk := t.TempDir(), &faultyDisk{}
		var log bytes.Buffer
		w, err := create(dir, Options{Sync: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))}, disk.open)
		if err != nil {
			t.Fatal(err)
		}
		offer := func(from, to int) {
			for n := from; n < to; n++ {
				if !w.Offer(numbered(n)) {
					t.Fatalf("%s: exchange %d was refused", test.name, n)
				}
			}
		}
		offer(0, 2)
		if err := w.Sync(ctx); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		test.fail(disk, true)
		offer(2, 4)
		for range 2 {
			if err := w.Sync(ctx); !errors.Is(err, errFull) {
				t.Errorf("%s: got %v, want %v", test.name, err, errFull)
			}
		}
		if got := w.Acknowledged(); got != 2 {
			t.Errorf("%s: %d exchanges are acknowledged, want 2", test.name, got)
		}
		test.fail(disk, false)
		offer(4, 6)
		if err := w.Close(ctx); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := w.Acknowledged(); got != 6 {
			t.Errorf("%s: %d exchanges are acknowledged, want 6", test.name, got)
		}
		var ids []string
		got, problems := readWithProblems(t, dir)
		for _, x := range got {
			ids = append(ids, x.ID)
		}
		var want []string
		for _, n := range []int{0, 1, 2, 3, 4, 5} {
			want = append(want, numbered(n).ID)
		}
		if test.duplicate > 0 { // truncating failed as well
			want = append(want[:4:4], want[2:]...)
		}
		same(t, ids, want)
		if len(problems) != test.tails {
			t.Errorf("%s: problems %v, want %d", test.name, problems, test.tails)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%s: %d errors were logged, want 1:\n%s", test.name, n, log.String())
		}
		if n := strings.Count(log.String(), "recording goes on"); n != 1 {
			t.Errorf("%s: going on was logged %d times:\n%s", test.name, n, log.String())
		}
	}
}

// smallDisk has room for so many bytes, in all files.
type smallDisk struct{ room atomic.Int64 }

func (d *smallDisk) open(path string) (file, error) {
	f, err := openFile(path)
	return &smallFile{f, d}, err
}

type smallFile struct {
	file
	disk *smallDisk
}

func (f *smallFile) WriteAt(p []byte, at int64) (int, error) {
	if f.disk.room.Add(-int64(len(p))) < 0 {
		f.disk.room.Add(int64(len(p)))
		return 0, errFull
	}
	return f.file.WriteAt(p, at)
}

// TestWhatFindsRoomIsAcknowledged has blocks of a kilobyte or two, of which some
// find room in one attempt.
func TestWhatFindsRoomIsAcknowledged(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir, disk := t.TempDir(), &smallDisk{}
	disk.room.Store(1 << 20)
	w, err := create(dir, Options{Sync: time.Hour}, disk.open)
	if err != nil {
		t.Fatal(err)
	}
	const n = 10
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n { // a block each, which does not compress
		x := &traffic.Exchange{ID: strconv.Itoa(i), Request: &traffic.Message{Body: make([]byte, blockSize)}}
		for j := range x.Request.Body {
			x.Request.Body[j] = byte(random.Uint32())
		}
		if !w.Offer(x) {
			t.Fatal("refused")
		}
	}
	if err := w.Sync(ctx); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
	if got := w.Acknowledged(); got != 3 { // of 256 KiB each, with headers
		t.Errorf("%d exchanges are acknowledged, want 3", got)
	}
	disk.room.Store(1 << 30)
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
	var ids []string
	for _, x := range readAll(t, dir) {
		ids = append(ids, x.ID)
	}
	same(t, ids, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"})
}

func TestClosingOnAFullDiskSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	dir, disk := t.TempDir(), &faultyDisk{}
	disk.write.Store(true)
	w, err := create(dir, Options{Sync: time.Hour}, disk.open)
	if err != nil {
		t.Fatal(err)
	}
	w.Offer(numbered(0))
	w.Offer(numbered(1))
	err = w.Close(context.Background())
	if want := dir + ": the last 2 exchanges are not recorded: no space left on device"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if names, _ := listSegments(dir); len(names) > 0 {
		t.Errorf("segments without an exchange are left: %v", names)
	}
	if w.Offer(numbered(2)) || w.Counts() != (Counts{Accepted: 2, Closed: 1}) {
		t.Errorf("got %+v", w.Counts())
	}
}

// damage changes bytes of a file.
func damage(t *testing.T, path string, at int64, with []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(with, at); err != nil {
		t.Fatal(err)
	}
}

// threeBlocks records exchanges 0 to 5 in blocks of two, and returns the segment
// and where its blocks are, the index last.
func threeBlocks(t *testing.T, dir string) (path string, offsets []int64) {
	t.Helper()
	w, err := Create(dir, Options{Sync: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6 {
		w.Offer(numbered(n))
		if n%2 == 1 {
			if err := w.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	names, err := listSegments(dir)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	path = filepath.Join(dir, names[0])
	f, blocks, err := openSegment(path, newDecoder())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, ok := blocks.readIndex()
	if !ok || len(x.blocks) != 3 {
		t.Fatalf("index %+v", x)
	}
	for _, e := range x.blocks {
		offsets = append(offsets, e.offset)
	}
	at, _ := blocks.findIndex()
	return path, append(offsets, at)
}

func TestDamageIsLeftOutAndNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		block    int
		shift    int64 // in the block
		want     []int // exchanges that are read
		lost     int   // as the problem says
		tail     bool
		problems int
	}{
		{"a content", 1, blockHeaderSize + 20, []int{0, 1, 4, 5}, 2, false, 1},
		{"a marker", 1, 3, []int{0, 1, 4, 5}, -1, false, 1},
		{"a length", 1, 12, []int{0, 1, 4, 5}, -1, false, 1},
		{"the first header", 0, 40, []int{2, 3, 4, 5}, -1, false, 1},
		{"the last content", 2, blockHeaderSize, []int{0, 1, 2, 3}, 2, false, 1},
		{"the index's header", 3, 20, []int{0, 1, 2, 3, 4, 5}, -1, true, 1},
		{"the index", 3, blockHeaderSize + 3, []int{0, 1, 2, 3, 4, 5}, 0, false, 0},
	} {
		dir := t.TempDir()
		path, offsets := threeBlocks(t, dir)
		damage(t, path, offsets[test.block]+test.shift, []byte{0x5a, 0xa5})
		got, problems := readWithProblems(t, dir)
		var ids, want []string
		for _, x := range got {
			ids = append(ids, x.ID)
		}
		for _, n := range test.want {
			want = append(want, numbered(n).ID)
		}
		same(t, ids, want)
		if len(problems) != test.problems {
			t.Fatalf("%s: problems %v", test.name, problems)
		}
		if test.problems == 0 {
			continue
		}
		p := problems[0]
		if p.Segment != filepath.Base(path) || p.Offset != offsets[test.block] || p.Exchanges != test.lost || p.Tail != test.tail {
			t.Errorf("%s: got %+v", test.name, p)
		}
		if !test.tail && p.Bytes != offsets[test.block+1]-offsets[test.block] {
			t.Errorf("%s: %d bytes are left out, want %d", test.name, p.Bytes, offsets[test.block+1]-offsets[test.block])
		}
	}
}

func TestASegmentMayBeCutAnywhere(t *testing.T) {
	t.Parallel()
	path, offsets := threeBlocks(t, t.TempDir())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cut := filepath.Join(dir, filepath.Base(path))
	for size := range whole {
		if err := os.WriteFile(cut, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		want := 0
		for i := range 3 {
			if int64(size) >= offsets[i+1] {
				want = 2 * (i + 1)
			}
		}
		got, problems := readWithProblems(t, dir)
		if len(got) != want {
			t.Fatalf("cut to %d bytes: %d exchanges, want %d", size, len(got), want)
		}
		for _, p := range problems {
			if !p.Tail {
				t.Fatalf("cut to %d bytes: %v", size, p)
			}
		}
		if size%7 > 0 {
			continue
		}
		s, err := Look(dir, nil)
		if err != nil || s.Exchanges != int64(want) {
			t.Fatalf("cut to %d bytes: surveyed %+v, %v", size, s, err)
		}
	}
}

// A block that was being written when the segment was opened is the unfinished
// end, even if it is whole by the time it is read, and others follow.
func TestABlockThatIsBeingWrittenIsNotDamaged(t *testing.T) {
	t.Parallel()
	path, offsets := threeBlocks(t, t.TempDir())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := offsets[0] + 1; size < offsets[1]; size++ {
		blocks, err := newBlockReader(bytes.NewReader(whole), size, newDecoder())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := blocks.header(); err != errCut || blocks.resync() {
			t.Fatalf("of %d bytes: %v, goes on at %d", size, err, blocks.at)
		}
	}
}

func TestWhatIsNoSegmentIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	record(t, dir, 2)
	later := segmentHeader(marker{}, time.Now())
	later[8] = 2
	later = binary.LittleEndian.AppendUint32(later[:28], crc32.Checksum(later[:28], castagnoli))
	for name, content := range map[string][]byte{
		"0000000000-20260101T000000Z.rec": []byte("these are no bytes of a segment, for sure"),
		"0000000002-20260101T000000Z.rec": later,
		"0000000003-20260101T000000Z.rec": nil,
		"0000000004-20260101T000000Z.rec": append(segmentMagic[:], make([]byte, 100)...),
		"notes.txt":                       []byte("left alone"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, problems := readWithProblems(t, dir)
	var said []string
	for _, p := range problems {
		said = append(said, p.String())
	}
	same(t, said, []string{
		"0000000000-20260101T000000Z.rec is left out: not a segment of a recording",
		"0000000002-20260101T000000Z.rec is left out: another version of the format than this program knows: 2 and not 1",
		"0000000003-20260101T000000Z.rec is left out: it has only just been made",
		"0000000004-20260101T000000Z.rec is left out: not a segment of a recording: its header is damaged",
	})
	if len(got) != 2 {
		t.Errorf("%d exchanges are read, want 2", len(got))
	}
}

// TestBlocksAreNotBelieved has blocks whose headers are whole and lie.
func TestBlocksAreNotBelieved(t *testing.T) {
	t.Parallel()
	m := newMarker()
	good := prefixLength(appendExchange(nil, full()), 0)
	stored := newEncoder().EncodeAll(good, nil)
	bomb := newEncoder().EncodeAll(make([]byte, maxRaw+1), nil)
	honest := blockHeader{recordBlock, uint32(len(stored)), uint32(len(good)), 1, 0, 0, crc32.Checksum(stored, castagnoli)}
	for _, test := range []struct {
		name   string
		lie    func(*blockHeader)
		stored []byte
		want   string // the reason of the problem; empty = none
	}{
		{"honest", func(*blockHeader) {}, stored, ""},
		{"another checksum", func(h *blockHeader) { h.checksum++ }, stored, "the checksum of a block is wrong"},
		{"shorter than it says", func(h *blockHeader) { h.raw++ }, stored, fmt.Sprintf("the checksum of a block is wrong: %d bytes instead of %d", len(good), len(good)+1)},
		{"too long", func(h *blockHeader) { h.raw = maxRaw + 1 }, stored, "the header of a block is damaged"},
		{"stored too long", func(h *blockHeader) { h.stored = maxStored + 1 }, stored, "the header of a block is damaged"},
		{"longer than the file", func(h *blockHeader) { h.stored = maxStored }, stored, "the file ends inside a block"},
		{"a bomb", func(h *blockHeader) {
			h.raw, h.stored, h.checksum = maxRaw, uint32(len(bomb)), crc32.Checksum(bomb, castagnoli)
		}, bomb, "the checksum of a block is wrong: decompressed size exceeds configured limit"},
	} {
		h := honest
		test.lie(&h)
		b := append(appendBlockHeader(segmentHeader(m, time.Unix(0, 0)), m, h), test.stored...)
		path := filepath.Join(t.TempDir(), "lie.rec")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, problems := readWithProblems(t, path)
		var reason string
		for _, p := range problems {
			reason += p.Reason
		}
		if reason != test.want || (len(got) == 1) != (test.want == "") {
			t.Errorf("%s: %d exchanges, %q, want %q", test.name, len(got), reason, test.want)
		}
	}
}
