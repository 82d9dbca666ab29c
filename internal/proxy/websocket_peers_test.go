package proxy

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// peer is a real WebSocket server that keeps the messages of each connection,
// by its path, and answers each with itself.
type peer struct {
	*httptest.Server
	mu   sync.Mutex
	got  map[string][]string
	code map[string]websocket.StatusCode // of the Close that ended it
	done sync.WaitGroup
}

func newPeer(t *testing.T, mode websocket.CompressionMode, echoes bool) *peer {
	t.Helper()
	p := &peer{got: map[string][]string{}, code: map[string]websocket.StatusCode{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1, Subprotocols: []string{"chat"}})
		if err != nil {
			return // the status has been sent
		}
		p.done.Add(1)
		defer p.done.Done()
		c.SetReadLimit(1 << 20)
		for {
			kind, message, err := c.Read(context.Background())
			if err != nil {
				p.mu.Lock()
				p.code[r.URL.Path] = websocket.CloseStatus(err)
				p.mu.Unlock()
				return
			}
			p.mu.Lock()
			p.got[r.URL.Path] = append(p.got[r.URL.Path], string(message))
			p.mu.Unlock()
			if echoes {
				if err := c.Write(context.Background(), kind, message); err != nil {
					return
				}
			}
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *peer) address() string { return strings.TrimPrefix(p.URL, "http://") }

// messages draws n messages of all sizes, which compress well and refer to each
// other, so that a frame that is lost or cut spoils those behind it.
func messages(random *rand.Rand, n int) (list []string) {
	words := []string{"understudy", "primary", "shadow", "copy", "audience", " ", "."}
	for range n {
		var b strings.Builder
		for size := random.IntN(1 << random.IntN(16)); b.Len() < size; {
			b.WriteString(words[random.IntN(len(words))])
		}
		list = append(list, b.String())
	}
	return list
}

func TestRealPeersUnderstandCopies(t *testing.T) {
	modes := map[string]websocket.CompressionMode{
		"plain": websocket.CompressionDisabled, "compressed": websocket.CompressionNoContextTakeover, "compressed with context": websocket.CompressionContextTakeover,
	}
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary, shadow := newPeer(t, mode, true), newPeer(t, mode, false)
				s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), "            upgrades: copy"))
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				sent := map[string][]string{}
				var clients sync.WaitGroup
				for i, path := range []string{"/a", "/b", "/c", "/d"} {
					list := messages(rand.New(rand.NewPCG(1, uint64(i))), 50)
					sent[path] = list
					clients.Go(func() { chat(ctx, t, "ws://"+addr+path, mode, list) })
				}
				clients.Wait()
				primary.done.Wait()
				m := books(t, s)
				shadow.done.Wait()
				if m.Selected != 4 || m.Completed != 4 {
					t.Errorf("%d selected, %d completed, failed %v, dropped %v, want 4", m.Selected, m.Completed, m.Failed, m.Dropped)
				}
				for path, want := range sent {
					for who, p := range map[string]*peer{"primary": primary, "shadow": shadow} {
						if strings.Join(p.got[path], "|") != strings.Join(want, "|") || p.code[path] != websocket.StatusNormalClosure {
							t.Errorf("the %s got %d messages of %s and the code %d, want %d and 1000", who, len(p.got[path]), path, p.code[path], len(want))
						}
					}
				}
			})
		})
	}
}

// chat sends messages, checks that each comes back, and says Close.
func chat(ctx context.Context, t *testing.T, url string, mode websocket.CompressionMode, list []string) {
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1, Subprotocols: []string{"chat"}})
	if err != nil {
		t.Error(err)
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	for i, message := range list {
		if err := c.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Errorf("message %d: %v", i, err)
			return
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != message {
			t.Errorf("message %d: got %.40q, %v", i, got, err)
			return
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func TestAShadowWithoutCompressionGetsNoCompressedFrames(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary, shadow := newPeer(t, websocket.CompressionContextTakeover, true), newPeer(t, websocket.CompressionDisabled, false)
		s, addr := serve(t, d, mirrored(primary.address(), shadow.address(), "            upgrades: copy"))
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		chat(ctx, t, "ws://"+addr+"/a", websocket.CompressionContextTakeover, []string{"one", "two"})
		if m := books(t, s); m.Failed[traffic.FailProtocol] != 1 || len(shadow.got) != 0 {
			t.Errorf("failed %v, and the shadow got %q, want protocol and nothing", m.Failed, shadow.got)
		}
	})
}
