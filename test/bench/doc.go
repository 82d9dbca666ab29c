// Bench measures understudy against nginx, haproxy and Envoy, each as a process
// of its own between a load generator and upstreams that are processes of their
// own, and writes what it finds as Markdown and JSON.
//
//	go run ./test/bench                     # the speed table, about ten minutes
//	go run ./test/bench -quick              # the same in a minute or two, too short to believe
//	go run ./test/bench -rows get-200 -proxies nginx-mirror,understudy-100
//	go run ./test/bench -protocols          # TLS, HTTP/2 and gRPC, beside nginx and Envoy
//	go run ./test/bench -compare            # what it costs to have answers compared
//	go run ./test/bench -scale              # connections, reloads, large bodies
//
// The proxies take turns (A B C, then B C A, …) so that what else happens on
// the machine meets them all, and a ratio is the median of the ratios within
// each round. A figure from a machine that others use is noise: the tables say
// how much CPU other programs took.
//
// It needs Linux, a built understudy, and nginx and haproxy, or with -protocols
// nginx, Envoy and h2load, which .ci/need installs; -proxies leaves out what is
// not there.
package main
