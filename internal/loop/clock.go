package loop

import "time"

// epoch is where the clock of this process starts.
var epoch = time.Now()

// Now is the time on the monotonic clock that all loops share, counted from an
// arbitrary moment of this process; any goroutine.
func Now() time.Duration { return time.Since(epoch) }
