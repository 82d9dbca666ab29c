package analyze

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// giveWay has the calling goroutine run on a thread of its own, of low priority:
// where there is not enough processor for all, event loops come first. The
// thread ends with the goroutine.
func giveWay() {
	const nice = 10
	runtime.LockOSThread()
	// Of the calling thread, on Linux. Who may not do even that works as before.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, nice)
}
