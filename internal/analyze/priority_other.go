//go:build !linux

package analyze

// giveWay does nothing: other systems have no priority of one thread that Go could
// set.
func giveWay() {}
