package analyze

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/store"
	kept "github.com/understudy-proxy/understudy/internal/store/memory"
)

// things offers pairs of which one in four differs.
func things(s *stage, from, to int) {
	for i := from; i < to; i++ {
		s.offer(fmt.Sprintf("GET /things/%d", i), answer{body: fmt.Sprintf(`{"id":%d,"price":5}`, i)}, answer{body: fmt.Sprintf(`{"id":%d,"price":%d}`, i, 5+boolInt(i%4 == 3))})
	}
	s.wait()
}

// predecessor is a store that another pipeline has left after 400 pairs.
func predecessor(t *testing.T, mirror string) store.Store {
	t.Helper()
	disk := kept.New()
	before := open(t, mirror, Options{Offline: true, Store: disk})
	things(before, 0, 400)
	before.close()
	return disk
}

func (s *stage) keep(disk store.Store, want Inherited) {
	s.Helper()
	got, err := s.pipeline.Keep(disk)
	if err != nil {
		s.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Error(diff)
	}
}

// What two pipelines have learned one after the other, and what one has learned of all
// of it, is the same. It outlives a restart.
func TestWhatWasLearnedMeanwhileIsAddedToWhatWasSaved(t *testing.T) {
	t.Parallel()
	disk := predecessor(t, "")
	s := open(t, "", Options{Offline: true})
	things(s, 400, 600)
	s.keep(disk, Inherited{Before: 400, Meanwhile: 200})
	things(s, 600, 700)
	alone := open(t, "", Options{Offline: true})
	things(alone, 0, 700)
	want, got := alone.mirror(), s.mirror()
	if got.Pairs != 700 || got.Verdict != want.Verdict {
		t.Errorf("%s after %d pairs, want %s after 700", got.Verdict, got.Pairs, want.Verdict)
	}
	if diff := cmp.Diff(want.Classes, got.Classes); diff != "" {
		t.Error(diff)
	}
	if len(got.Clusters) != 1 || got.Clusters[0].ID != want.Clusters[0].ID || got.Clusters[0].Count != 175 || len(got.Clusters[0].Examples) != mostExamples {
		t.Errorf("clusters %+v", got.Clusters)
	}
	for _, id := range got.Clusters[0].Examples {
		if _, ok := s.pipeline.Pair(id); !ok {
			t.Errorf("example %s is gone", id)
		}
	}
	s.close()
	if m := open(t, "", Options{Offline: true, Store: disk}).mirror(); m.Pairs != 700 || m.Clusters[0].Count != 175 {
		t.Errorf("after a restart: %d pairs, clusters %+v", m.Pairs, m.Clusters)
	}
	if _, err := s.pipeline.Keep(kept.New()); err == nil {
		t.Error("a second store is taken")
	}
}

func TestWhatWasSavedForOtherSettingsIsNotAddedTo(t *testing.T) {
	t.Parallel()
	disk := predecessor(t, "compare: {rules: [{path: body.price, ignore: true}]}")
	s := open(t, "", Options{Offline: true})
	things(s, 0, 40)
	s.keep(disk, Inherited{Meanwhile: 40})
	if m := s.mirror(); m.Pairs != 40 {
		t.Errorf("%d pairs", m.Pairs)
	}
	s.close()
	if m := open(t, "", Options{Offline: true, Store: disk}).mirror(); m.Pairs != 40 || len(m.Clusters) != 1 {
		t.Errorf("after a restart: %d pairs, clusters %+v", m.Pairs, m.Clusters)
	}
}

func TestWhatWasResetMeanwhileStaysForgotten(t *testing.T) {
	t.Parallel()
	disk := predecessor(t, "")
	s := open(t, "", Options{Offline: true})
	if err := s.pipeline.Reset(""); err != nil {
		t.Fatal(err)
	}
	things(s, 0, 40)
	s.keep(disk, Inherited{Meanwhile: 40})
	s.close()
	if m := open(t, "", Options{Offline: true, Store: disk}).mirror(); m.Pairs != 40 {
		t.Errorf("%d pairs", m.Pairs)
	}
}

// A calibration in the store holds at once: what was seen without it does not count.
func TestACalibrationIsInherited(t *testing.T) {
	t.Parallel()
	disk := kept.New()
	before := open(t, "", Options{Offline: true, Store: disk})
	things(before, 0, 400)
	if _, err := before.pipeline.Calibrate(""); err != nil {
		t.Fatal(err)
	}
	things(before, 400, 430)
	before.close()
	s := open(t, "", Options{Offline: true})
	things(s, 0, 40)
	s.keep(disk, Inherited{Before: 30, Forgotten: 40})
	if m := s.mirror(); m.Pairs != 30 || m.Calibration == nil || m.Calibration.Offsets.Pairs != 400 {
		t.Errorf("%d pairs, calibration %+v", m.Pairs, m.Calibration)
	}
}

func TestAStoreThatCannotBeReadChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, "", Options{Offline: true})
	things(s, 0, 40)
	broken := kept.New()
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pipeline.Keep(broken); err == nil {
		t.Fatal("a closed store is taken")
	}
	if m := s.mirror(); m.Pairs != 40 {
		t.Errorf("%d pairs", m.Pairs)
	}
	s.keep(kept.New(), Inherited{Meanwhile: 40})
}
