package content

import (
	"bytes"
	"encoding/base64"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// charsets are those that are made UTF-8 of. The tables of Asian encodings are
// larger than the rest of the program that needs them: such text stays as it is,
// and is compared as bytes where it is not ASCII.
var charsets = map[string]encoding.Encoding{
	"iso-8859-1":   charmap.ISO8859_1,
	"latin1":       charmap.ISO8859_1,
	"iso-8859-2":   charmap.ISO8859_2,
	"iso-8859-5":   charmap.ISO8859_5,
	"iso-8859-7":   charmap.ISO8859_7,
	"iso-8859-9":   charmap.ISO8859_9,
	"iso-8859-15":  charmap.ISO8859_15,
	"windows-1250": charmap.Windows1250,
	"windows-1251": charmap.Windows1251,
	"windows-1252": charmap.Windows1252,
	"windows-1254": charmap.Windows1254,
	"koi8-r":       charmap.KOI8R,
	"utf-16":       unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf-16le":     unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
	"utf-16be":     unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
}

// decode makes UTF-8 of b.Data.
func (b *Body) decode() {
	switch {
	case bytes.HasPrefix(b.Data, []byte("\xef\xbb\xbf")):
		b.Data, b.Charset = b.Data[3:], "utf-8"
		return
	case bytes.HasPrefix(b.Data, []byte("\xfe\xff")), bytes.HasPrefix(b.Data, []byte("\xff\xfe")) && !bytes.HasPrefix(b.Data, []byte("\xff\xfe\x00\x00")):
		b.Charset = "utf-16"
	}
	if wide := wideCharset(b.Data); wide != "" {
		b.Charset = wide
	}
	from, ok := charsets[b.Charset]
	if !ok {
		return
	}
	if text, err := from.NewDecoder().Bytes(b.Data); err == nil || len(text) > 0 {
		b.Data = text
	}
}

// wideCharset recognises UTF-16 without a byte order mark by its first two
// characters, which are ASCII in all that is no plain text: some that send it say
// so nowhere, or say utf-16 and mean the other order than RFC 2781 does.
func wideCharset(b []byte) string {
	switch {
	case len(b) < 4:
	case b[0] == 0 && b[1] != 0 && b[2] == 0 && b[3] != 0:
		return "utf-16be"
	case b[0] != 0 && b[1] == 0 && b[2] != 0 && b[3] == 0:
		return "utf-16le"
	}
	return ""
}

// Encode makes text of b.Charset from UTF-8: the reverse of what Read did. Text
// that needs no change is returned as it is.
func (b *Body) Encode(text []byte) []byte {
	if b.base64 {
		return base64.StdEncoding.AppendEncode(nil, text)
	}
	to, ok := charsets[b.Charset]
	if !ok || b.Kind == Multipart || b.Kind == Protobuf || b.Kind == GRPC || b.Kind == Opaque {
		return text
	}
	encoded, err := encoding.ReplaceUnsupported(to.NewEncoder()).Bytes(text)
	if err != nil {
		return text
	}
	return encoded
}

// lowered returns the text in lower case; those that are common without an
// allocation.
func lowered(b []byte) string {
	for _, common := range []string{"utf-8", "iso-8859-1", "us-ascii", "windows-1252", "utf-16"} {
		if EqualFold(b, common) {
			return common
		}
	}
	return string(bytes.ToLower(b))
}
