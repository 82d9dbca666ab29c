//go:build linux

// Package peers plays both ends of what a mirroring proxy speaks besides
// HTTP/1.1: clients that notice every wrong answer, backends that answer, and
// backends that misbehave in ways only their protocol knows. What one
// connection can do whatever it speaks is in package shadow.
//
//	for _, p := range peers.Protocols() {
//		primary, err := p.Answer('p')
//		bad, err := p.Misbehave(p.Shadows[0])
//		result, err := p.Drive(ctx, proxy, time.Second)
//	}
package peers
