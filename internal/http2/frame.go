package http2

import "encoding/binary"

// Preface is what a client sends first (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frameType is the type of a frame (RFC 9113 §6).
type frameType uint8

const (
	frameData frameType = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation
)

// Flags of frames. ACK and END_STREAM share a bit.
const (
	flagEndStream  uint8 = 0x1
	flagAck        uint8 = 0x1
	flagEndHeaders uint8 = 0x4
	flagPadded     uint8 = 0x8
	flagPriority   uint8 = 0x20
)

// The settings that are used (RFC 9113 §6.5.2).
const (
	settingTable      = 0x1
	settingPush       = 0x2
	settingStreams    = 0x3
	settingWindow     = 0x4
	settingFrame      = 0x5
	settingHeaderList = 0x6
	settingConnect    = 0x8 // RFC 8441 §3
)

const (
	headerLen   = 9
	leastFrame  = 16 << 10 // largest payload that everybody takes
	mostFrame   = 1<<24 - 1
	firstWindow = 64<<10 - 1 // until told otherwise (RFC 9113 §6.9.2)
	mostWindow  = 1<<31 - 1
	mostID      = 1<<31 - 1
)

// Code is the reason that RST_STREAM and GOAWAY carry (RFC 9113 §7).
type Code uint32

// The codes.
const (
	NoError Code = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the name of the code in RFC 9113.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "an unknown code"
}

// Error ends a connection. All values but those of a peer's GOAWAY are static.
type Error struct {
	Code   Code
	Reason string // short, in lower case, for people
}

// Error says what was wrong.
func (e *Error) Error() string { return "http2: " + e.Reason + " (" + e.Code.String() + ")" }

// The ways to end a connection.
var (
	errPreface       = &Error{ProtocolError, "the connection does not begin with the preface"}
	errFirst         = &Error{ProtocolError, "the first frame is not SETTINGS"}
	errFrameLong     = &Error{FrameSizeError, "a frame is longer than allowed"}
	errFrameSize     = &Error{FrameSizeError, "a frame has a wrong length"}
	errStreamZero    = &Error{ProtocolError, "a frame that needs a stream has none"}
	errStreamGiven   = &Error{ProtocolError, "a frame of the connection names a stream"}
	errPadding       = &Error{ProtocolError, "more padding than there is frame"}
	errIdle          = &Error{ProtocolError, "a frame for a stream that was never opened"}
	errStreamID      = &Error{ProtocolError, "a new stream has a number that is not new, or not the peer's to give"}
	errClosed        = &Error{StreamClosed, "a frame for a stream that has ended"}
	errContinuation  = &Error{ProtocolError, "CONTINUATION without HEADERS, or HEADERS without CONTINUATION"}
	errPush          = &Error{ProtocolError, "PUSH_PROMISE, which was not allowed"}
	errSetting       = &Error{ProtocolError, "a setting has a value that is not possible"}
	errSettingWindow = &Error{FlowControlError, "the initial window is too large"}
	errWindowZero    = &Error{ProtocolError, "a window grows by nothing"}
	errWindowLarge   = &Error{FlowControlError, "a window grows too large"}
	errWindow        = &Error{FlowControlError, "more data than the window allows"}
	errCompression   = &Error{CompressionError, "a field section cannot be decoded"}
	errHeadLong      = &Error{EnhanceYourCalm, "a field section is far longer than allowed"}
	errFlood         = &Error{EnhanceYourCalm, "too many frames that bring nothing"}
)

// appendFrame appends the header of a frame with n bytes of payload.
func appendFrame(dst []byte, n int, t frameType, flags uint8, id uint32) []byte {
	dst = append(dst, byte(n>>16), byte(n>>8), byte(n), byte(t), flags)
	return binary.BigEndian.AppendUint32(dst, id)
}

// appendSetting appends one setting.
func appendSetting(dst []byte, id uint16, value uint32) []byte {
	dst = binary.BigEndian.AppendUint16(dst, id)
	return binary.BigEndian.AppendUint32(dst, value)
}
