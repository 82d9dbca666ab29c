package memory

import (
	"testing"

	"github.com/understudy-proxy/understudy/internal/store"
	"github.com/understudy-proxy/understudy/internal/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, storetest.Engine{Open: func(*testing.T) store.Store { return New() }})
}
