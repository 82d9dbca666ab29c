//go:build linux

// Isolation shows whether a mirroring proxy keeps bad shadows away from its
// clients. It runs the same loads against the same proxy with mirroring off,
// with mirroring to a healthy shadow, and with mirroring to a shadow that
// misbehaves in one way, in interleaved rounds, and compares.
//
//	isolation                              Understudy, all cells, about a quarter of an hour
//	isolation -quick                       one short round per cell
//	isolation -protocols                   HTTP/2, gRPC, WebSockets and TCP, half a minute with -quick
//	isolation -shadows late -loads get     some cells only
//	isolation -proxy understudy,nginx      one after the other, side by side in the report
//	isolation -proxy nginx -json nginx.json
//	isolation -out isolation.md nginx.json Understudy measured now, beside earlier results
//	isolation -proxy none a.json b.json    only print results
//
// Any HTTP/1.1 proxy can be measured: -proxy takes a command in which {listen},
// {primary}, {shadow} and {admin} are replaced by addresses (host:port), {mirror}
// by on or off, {dir} by a scratch folder and {config} by a file made from the
// Go text/template given with -config, whose fields are Listen, Primary, Shadow,
// Admin, Mirror (bool), Insist (bool), Dir, Wire (with -protocols what is
// to be spoken: http2, grpc-bidi, websocket or tcp) and Root (bool: the suite runs as
// root), and whose functions host and port split an address. A proxy whose
// command line differs when it does not mirror takes that one from -proxy-off.
//
//	isolation -proxy 'haproxy -f {config}' -config haproxy.cfg.tmpl
//
// A cell fails hard if a client saw an error, a body was damaged, memory grew
// beyond its bound, the books did not balance, or clients waited: throughput
// collapsed, or one large upload took much longer than with the healthy shadow.
// Throughput and p99 against the healthy shadow are targets: misses are flagged
// and counted, and fail with -strict, because on a shared machine a single ratio
// is not proof.
//
// The exit status is 0 if every cell of the first proxy passes, 1 if not, 2 if
// the suite could not be run.
package main
