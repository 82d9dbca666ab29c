package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/understudy-proxy/understudy/internal/config"
)

// settle is how long a folder must be quiet before a file in it is read:
// editors write in several steps.
const settle = 150 * time.Millisecond

// configFile reads a configuration and knows whether it has changed.
type configFile struct {
	path string
	last []byte // content that was read last
}

// load reads the file, whatever it holds.
func (f *configFile) load() (*config.Config, error) {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	f.last = data
	return config.Parse(f.path, data)
}

// changed says whether the file holds something else than was read last. A
// file that cannot be read has not changed: it may be back in a moment.
func (f *configFile) changed() bool {
	data, err := os.ReadFile(f.path)
	return err == nil && !bytes.Equal(data, f.last)
}

// watchFolders signals on the channel it returns when something has happened in
// the folder of path, or in the folder that a symbolic link at path leads to,
// and nothing more has for a while. It watches folders and not the file because
// editors and Kubernetes replace files: a ConfigMap is a link to a link that is
// swapped. It ends, and closes the channel, when ctx does.
func watchFolders(ctx context.Context, path string) (<-chan struct{}, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	if err := w.Add(filepath.Dir(path)); err != nil {
		w.Close()
		return nil, fmt.Errorf("watch the folder of %s: %w", path, err)
	}
	followLink(w, path)
	signal := make(chan struct{}, 1)
	go func() {
		defer close(signal)
		defer w.Close()
		quiet := time.NewTimer(settle)
		quiet.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-w.Events:
				quiet.Reset(settle)
			case err := <-w.Errors:
				_ = err // whatever it is, events were lost: look at the file
				quiet.Reset(settle)
			case <-quiet.C:
				followLink(w, path)
				select {
				case signal <- struct{}{}:
				default:
				}
			}
		}
	}()
	return signal, nil
}

// followLink watches where path leads to now. Folders of former targets go
// unwatched by themselves when they are removed, and do no harm until then.
func followLink(w *fsnotify.Watcher, path string) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		// Without this watch the link itself is still watched.
		_ = w.Add(filepath.Dir(target))
	}
}
