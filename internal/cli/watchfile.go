package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/understudy-proxy/understudy/internal/config"
)

// settle is how long a folder must be quiet before a file in it is read:
// editors write in several steps.
const settle = 150 * time.Millisecond

// source is where a configuration comes from, a file or the flags of the quick
// start, and knows whether that, or a file it names, has changed.
type source struct {
	path  string // empty with flags
	quick config.QuickOptions
	last  []byte   // content of path that was read last
	names []string // certificates and the like, of the last that was good
	sum   [sha256.Size]byte
}

// load reads the configuration, whatever it holds.
func (f *source) load() (*config.Config, error) {
	// What changes while it is read has changed: half of a new pair of certificate
	// and key is refused, and the other half must be seen.
	f.sum, _ = digest(f.names)
	if f.path == "" {
		cfg, err := config.Quick(f.quick)
		return f.note(compiled("", cfg, err))
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	f.last = data
	cfg, err := config.Parse(f.path, data)
	return f.note(compiled(f.path, cfg, err))
}

func (f *source) note(cfg *config.Config, err error) (*config.Config, error) {
	if err == nil && !slices.Equal(cfg.Files(), f.names) {
		f.names = cfg.Files()
		f.sum, _ = digest(f.names)
	}
	return cfg, err
}

// digest is of what the files hold, if all can be read.
func digest(names []string) (sum [sha256.Size]byte, ok bool) {
	h := sha256.New()
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return sum, false
		}
		fmt.Fprintf(h, "%d\n", len(data))
		_, _ = h.Write(data) // it never fails
	}
	h.Sum(sum[:0])
	return sum, true
}

// files are those to watch.
func (f *source) files() []string {
	if f.path == "" {
		return f.names
	}
	return append([]string{f.path}, f.names...)
}

// changed says whether the files hold something else than was read last. A
// configuration that cannot be read has not changed: it may be back in a moment.
func (f *source) changed() bool {
	if f.path != "" {
		if data, err := os.ReadFile(f.path); err == nil && !bytes.Equal(data, f.last) {
			return true
		}
	}
	sum, ok := digest(f.names)
	return ok && sum != f.sum
}

// watcher signals on C when something has happened in the folders of files, or in
// those that symbolic links at their paths lead to, and nothing more has for a
// while. It watches folders and not the files because editors and Kubernetes
// replace files: a ConfigMap is a link to a link that is swapped.
type watcher struct {
	C <-chan struct{} // closed at the end

	notify *fsnotify.Watcher
	mu     sync.Mutex
	paths  []string
}

// watchFiles begins to watch files, until ctx ends.
func watchFiles(ctx context.Context, paths ...string) (*watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	signal := make(chan struct{}, 1)
	files := &watcher{C: signal, notify: w}
	if err := files.follow(paths); err != nil {
		w.Close()
		return nil, err
	}
	go files.run(ctx, signal)
	return files, nil
}

// follow has these files watched too. What can be watched is, also on an error.
func (w *watcher) follow(paths []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths = paths
	var errs []error
	for _, path := range paths {
		if err := w.notify.Add(filepath.Dir(path)); err != nil {
			errs = append(errs, fmt.Errorf("watch the folder of %s: %w", path, err))
		}
		followLink(w.notify, path)
	}
	return errors.Join(errs...)
}

func (w *watcher) run(ctx context.Context, signal chan<- struct{}) {
	defer close(signal)
	defer w.notify.Close()
	quiet := time.NewTimer(settle)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.notify.Events:
			quiet.Reset(settle)
		case err := <-w.notify.Errors:
			_ = err // whatever it is, events were lost: look at the files
			quiet.Reset(settle)
		case <-quiet.C:
			w.mu.Lock()
			for _, path := range w.paths {
				followLink(w.notify, path)
			}
			w.mu.Unlock()
			select {
			case signal <- struct{}{}:
			default:
			}
		}
	}
}

// followLink watches where path leads to now. Folders of former targets go
// unwatched by themselves when they are removed, and do no harm until then.
func followLink(w *fsnotify.Watcher, path string) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		// Without this watch the link itself is still watched.
		_ = w.Add(filepath.Dir(target))
	}
}
