package http1

import "strconv"

// LastChunk ends a chunked body without trailers. With trailers: "0\r\n", the
// lines of Body.Trailer, "\r\n".
const LastChunk = "0\r\n\r\n"

// AppendChunkHeader appends the line that announces n bytes of data, n > 0.
// The data is followed by "\r\n".
func AppendChunkHeader(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendChunk appends data as one chunk; nothing when data is empty, since an
// empty chunk would end the body.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = AppendChunkHeader(dst, len(data))
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body with the lines of
// trailer, as from Body.Trailer; nil for none.
func AppendLastChunk(dst, trailer []byte) []byte {
	dst = append(dst, "0\r\n"...)
	dst = append(dst, trailer...)
	return append(dst, "\r\n"...)
}
