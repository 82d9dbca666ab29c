package grpc

import "github.com/understudy-proxy/understudy/internal/traffic"

// Headers gives access to the fields of an answer.
type Headers interface {
	// Value is the i-th value of the field called name, in lower case.
	Value(name string, i int) ([]byte, bool)
}

// ReadHead notes in end how a call ended, if the head of its answer says so
// already: then there are no trailers. The message is read if words are wanted,
// because keeping it allocates.
func ReadHead(end *traffic.GRPCCall, h Headers, words bool) {
	status, ok := h.Value(StatusField, 0)
	if !ok {
		return
	}
	end.Status = Status(status)
	if message, ok := h.Value(MessageField, 0); ok && words {
		end.Message = Message(message)
	}
}

// ReadTrailer notes in end how a call ended whose whole answer has come, with
// that HTTP status and these trailer lines. An answer that does not say how is
// understood by its HTTP status, as clients do.
func ReadTrailer(end *traffic.GRPCCall, lines []byte, status int, words bool) {
	if value, ok := Trailer(lines, StatusField); ok {
		end.Status = Status(value)
		if message, ok := Trailer(lines, MessageField); ok && words {
			end.Message = Message(message)
		}
	}
	if end.Status == "" {
		end.Status = FromHTTP(status)
	}
}
