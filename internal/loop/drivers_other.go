//go:build !linux

package loop

const defaultDriver = Go

var drivers = map[Driver]mechanism{
	Go: {poller: newSleeper, listen: listenNet, adopt: adoptNet},
}
