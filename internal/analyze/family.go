package analyze

import (
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/compare"
)

// family is a space of ids in which one names one thing. What machines make unique
// is of one wherever it stands, others are of one with those of the same name.
type family struct {
	hash   uint64
	unique bool // an id of the primary is none of another thing in the shadow
}

// familyOf returns the family that a pair of values belongs to, if they are ids.
func familyOf(d *compare.Difference) (family, bool) {
	c := d.Primary.Class
	if c != d.Shadow.Class {
		c = "" // chance makes one that was drawn look like another kind of thing
	}
	switch c {
	case compare.UUID, compare.ULID, compare.KSUID, compare.Hex, compare.Base64, compare.Token:
		return family{xxhash.Sum64String(string(c)), true}, true
	}
	if drawn(d.Primary.Text) && drawn(d.Shadow.Text) {
		return family{xxhash.Sum64String("drawn"), true}, true
	}
	if c != d.Primary.Class {
		return family{}, false
	}
	name := lastName(d.Path)
	if (c == compare.Number || c == compare.Word || c == "") && namesID(name) {
		return family{xxhash.Sum64String(name), false}, true
	}
	return family{}, false
}

// drawn says that a text looks as if a machine had drawn it, with a name before it
// perhaps: ref_8a1c09be.
func drawn(text string) bool {
	const shortest, longest, fewest = 8, 128, 3
	digits, letters := 0, 0
	for _, c := range []byte(text) {
		switch {
		case c-'0' <= 9:
			digits++
		case (c|0x20)-'a' < 26:
			letters++
		case c != '_' && c != '-' && c != '.' && c != ':':
			return false
		}
	}
	return len(text) >= shortest && len(text) <= longest && digits >= fewest && letters > 0
}

// lastName is the last name in a path: id of body.items[*].id.
func lastName(path string) string {
	path = strings.TrimRight(path, "[]*{}")
	return path[strings.LastIndexAny(path, ".]}")+1:]
}

// namesID says that a field of this name holds an id.
func namesID(name string) bool {
	lower := strings.ToLower(name)
	return lower == "id" || lower == "uid" || strings.HasSuffix(lower, "_id") || strings.HasSuffix(lower, "-id") || strings.HasSuffix(name, "Id") || strings.HasSuffix(name, "ID")
}
