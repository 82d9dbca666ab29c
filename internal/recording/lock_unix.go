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

// unlockFile gives the lock back and closes f. A child process that is just being
// started has the lock too, until it runs its own program: closing is not enough.
func unlockFile(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	_ = f.Close()
}
