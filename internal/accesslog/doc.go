// Package accesslog writes one JSON line per finished exchange: the live
// request, what the primary did, and the fate of every copy, joined by request
// id.
//
// It never makes a request wait. A [Log] has a bounded queue and one goroutine
// that encodes and writes; when the disk or the pipe is slower than the
// traffic, lines are lost and counted.
//
// A line:
//
//	{"time":"2026-05-01T13:04:05.123456789Z","request_id":"4f…","client":"10.1.2.3","listener":"web","method":"GET",
//	 "host":"shop.example","path":"/api/cart","query":true,"protocol":"HTTP/1.1","user_agent":"curl/8.5","route":"shop","rule":0,
//	 "status":200,"duration_ms":3.214,"bytes_in":0,"bytes_out":512,
//	 "primary":{"backend":"v1","endpoint":"10.0.0.1:9000","status":200,"first_ms":2.9,"ms":3.1,"bytes":512},
//	 "copies":[{"mirror":"v2","backend":"v2","endpoint":"10.0.0.2:9000","fate":"completed","status":200,"first_ms":3.3,"ms":4.1,"bytes":498},
//	           {"mirror":"v3","backend":"v3","fate":"skipped","reason":"percent"}]}
//
// Of the query string only its presence is written, because queries carry
// tokens and names of people. Fields whose value is empty or does not apply
// are left out, except in the head of the line. Times end in ms and are
// milliseconds since the request's head was complete. Text that is not UTF-8
// is written with U+FFFD for each bad byte.
package accesslog
