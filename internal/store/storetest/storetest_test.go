package storetest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/store"
	"github.com/understudy-proxy/understudy/internal/store/memory"
	"github.com/understudy-proxy/understudy/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The suite leaves no goroutine behind.
func TestRun(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Engine{Open: func(*testing.T) store.Store { return memory.New() }})
}
