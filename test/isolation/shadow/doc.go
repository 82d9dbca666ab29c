//go:build linux

// Package shadow plays backends that misbehave, each in exactly one way, so
// that a mirroring proxy can be shown to keep them away from its clients.
//
// Every [Kind] is a promise about what a peer sees on the wire, and the tests
// of this package hold it to that promise. A shadow never spends much of the
// machine itself: whatever it does without end is paced, because on a shared
// machine a shadow that burns a core slows the proxy without the proxy being
// at fault.
//
//	s, err := shadow.Start(shadow.NeverReading)
//	defer s.Close()
//	// point the proxy at s.Addr()
package shadow
