package config

import "strings"

func (v *validator) validateGRPC(p *place, m *Match) {
	g, at := m.GRPC, p.field("grpc")
	if m.Path != nil {
		v.fail(p.field("path"), "remove one of the two", "has no place beside grpc, which names service and method instead")
	}
	if len(m.Methods) > 0 {
		v.fail(p.field("methods"), "remove them", "have no place beside grpc, because every call is a POST")
	}
	oneOf(v, at.field("type"), g.Type, ValueExact, ValueRegexp)
	if g.Type == ValueRegexp {
		if g.Service == "" && g.Method == "" {
			v.fail(at, "write service or method, or remove the type", "has no pattern")
		}
		if g.Service != "" {
			v.pattern(at.field("service"), g.Service)
		}
		if g.Method != "" {
			v.pattern(at.field("method"), g.Method)
		}
		return
	}
	if g.Service != "" && !isService(g.Service) {
		v.fail(at.field("service"), "write it with its package, like shop.v1.Cart", "%q is not the name of a service", abridged(g.Service))
	}
	if g.Method != "" && !isIdentifier(g.Method) {
		v.fail(at.field("method"), "write it like GetCart", "%q is not the name of a method", abridged(g.Method))
	}
}

// validateGRPCMethods checks which calls are copied though they may write.
func (v *validator) validateGRPCMethods(p *place, m *Mirror) {
	if len(m.GRPCMethods) > 0 && m.Writes == WritesCopy {
		v.fail(p, "remove one of the two", "has no effect beside writes: copy, which copies every call")
	}
	for i, name := range m.GRPCMethods {
		service, method, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
		if !ok || strings.HasPrefix(name, "/") || !isService(service) || method != "*" && !isIdentifier(method) {
			v.fail(p.at(i), "write it like shop.v1.Cart/Get, or shop.v1.Cart/* for all of a service", "%q does not name a method", abridged(name))
		}
	}
}

// isService says whether s can be the full name of a service.
func isService(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !isIdentifier(part) {
			return false
		}
	}
	return true
}

// isIdentifier says whether s is an identifier of protocol buffers.
func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
