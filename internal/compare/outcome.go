package compare

import (
	"bytes"
	"strconv"

	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// paired says that there is a pair: both were asked, and either both answers were
// kept to their ends, or the shadow has itself to blame that there is none.
func paired(primary, shadow *traffic.Outcome) bool {
	if primary.Source != traffic.None || primary.Error != "" || primary.Answer == nil || !primary.Answer.Whole {
		return false
	}
	switch shadow.Fate {
	case traffic.Completed:
		return shadow.Answer != nil && shadow.Answer.Whole
	case traffic.Failed:
		late := shadow.Reason == traffic.FailTimeout && shadow.Start > 0 // else it waited for us
		broke := shadow.Reason == traffic.FailReset || shadow.Reason == traffic.FailProtocol
		return (late || broke) && !serverError(primary)
	}
	return false
}

// serverError says that a backend answered with a failure of its own.
func serverError(o *traffic.Outcome) bool {
	if o.Status >= 500 {
		return true
	}
	switch grpcStatus(o) {
	case traffic.GRPCUnknown, traffic.GRPCDeadlineExceeded, traffic.GRPCUnimplemented, traffic.GRPCInternal, traffic.GRPCUnavailable, "DATA_LOSS":
		return true
	}
	return false
}

// grpcStatus returns the status of a call, empty if there was none.
func grpcStatus(o *traffic.Outcome) traffic.GRPCStatus {
	if o.GRPC.Status != "" || o.Answer == nil {
		return o.GRPC.Status
	}
	value, found := content.LookupLine(o.Answer.Trailer, "grpc-status")
	if !found {
		value, found = content.Lookup(o.Answer.Head, "grpc-status")
	}
	if !found {
		return ""
	}
	if i, err := strconv.Atoi(string(value)); err == nil && i >= 0 && i < len(traffic.GRPCStatuses) {
		return traffic.GRPCStatuses[i]
	}
	return traffic.GRPCStatus(value)
}

// noAnswer is the difference of a pair of which the shadow gave no answer.
func noAnswer(primary, shadow *traffic.Outcome) Difference {
	status := strconv.AppendInt(nil, int64(primary.Status), 10)
	return Difference{
		Path: "status", Where: "status", Kind: Missing,
		Primary: Value{Type: names[number], Text: string(status), Class: Number, Hash: hashOf(number, status)},
		Shadow:  Value{Type: names[absent], Text: string(shadow.Reason)},
	}
}

// sameBytes says that two answers are the same, byte by byte.
func sameBytes(a, b *traffic.Message) bool {
	return sameBody(a, b) && bytes.Equal(a.Head, b.Head) && bytes.Equal(a.Trailer, b.Trailer)
}

func sameBody(a, b *traffic.Message) bool {
	return a.Length == b.Length && a.Hash == b.Hash && bytes.Equal(a.Body, b.Body)
}
