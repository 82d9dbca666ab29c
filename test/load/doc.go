// Package load measures proxies of HTTP/1.1 and gRPC: load generators and
// upstreams that cost little enough not to hide what they measure, and a look
// at what other processes use. For HTTP/1.1 both ends are single-threaded epoll
// loops, and the look goes through /proc: on other systems than Linux the
// package is empty.
//
// [Run] drives one target by a [Plan] and gives a [Result]. [StartUpstream]
// answers; it counts what it got and keeps an [IDSet], so that two upstreams
// can be asked whether they received the same requests. Requests that carry an
// id carry it as the query parameter "id", sixteen hex digits.
//
// Either end can run in a process of its own, so that its CPU time can be told
// from the proxy's: a program calls [Child] first thing in main and may then
// use [RunProcess] and [StartUpstreamProcess], which execute that program
// again.
//
//	up, err := load.StartUpstream(load.UpstreamOptions{AnswerBytes: 200})
//	...
//	res, err := load.Run(ctx, load.Plan{Target: up.Addr(), Conns: 64, Duration: time.Second, UniqueIDs: true})
//	...
//	fmt.Println(res.Throughput, res.Latency.Quantile(0.99), up.Stats().IDs == res.Answered)
//
// [RunCalls] does the same for gRPC, against an upstream with
// UpstreamOptions.GRPC; both use the library that users have. Requests are
// calls then, and their ids are the names of their methods.
//
// Nothing here checks that an answer is good HTTP beyond what is needed to find
// its end: the package measures proxies, it does not judge their grammar.
package load
