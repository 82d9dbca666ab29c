// Corpus plants faults in a shadow and looks whether they are found: real services
// (go-httpbin, the demo's shop, a gRPC server) behind the real proxy, with noise
// that both versions make by themselves, and one fault at a time.
//
//	go run ./test/corpus                     all faults, then the false alarms
//	go run ./test/corpus -fault rounding     one of them, with what was reported
//	go run ./test/corpus -clean 200          only false alarms, of 200 runs
//	go run ./test/corpus -out docs/corpus.md write the tables
//
// The same traffic is judged by the rule that Diffy publishes, which needs a second
// instance of the primary: here it has one.
package main
