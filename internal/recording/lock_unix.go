//go:build unix

package recording

import (
	"errors"
	"os"
	"syscall"
)

// lockFile has this process be the only one that writes, until the file is closed
// or the process ends, however it ends.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}
