//go:build darwin || linux

package sqlite

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the lock that a file stands for, until that is closed or the process
// ends.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errTaken
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// release gives the lock back and closes f. A child process that is just being
// started has the lock too, until it runs its own program: closing is not enough.
func release(f *os.File) {
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	_ = f.Close()
}
