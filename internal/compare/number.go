package compare

import (
	"bytes"
	"math"
	"strconv"
)

// epsilon is how far apart two fractions may be, relative to the larger one,
// and still be the same: what is left when the same sum is worked out in another
// order.
const epsilon = 1e-9

// plain appends a number without what does not change it, so that 1, 1.0 and
// 1e0 are one text. What cannot be brought into that form stays as it is.
func plain(dst, n []byte) []byte {
	point := -1
	for i, c := range n {
		switch c {
		case '.':
			point = i
		case 'e', 'E':
			f, err := strconv.ParseFloat(string(n), 64)
			if err != nil || math.Abs(f) >= 1e21 || f != 0 && math.Abs(f) < 1e-9 {
				return n
			}
			return strconv.AppendFloat(dst, f+0, 'f', -1, 64) // -0 + 0 is 0
		}
	}
	if point >= 0 {
		n = bytes.TrimRight(n, "0")
		n = bytes.TrimSuffix(n, []byte{'.'})
	}
	if len(n) == 2 && n[0] == '-' && n[1] == '0' {
		return n[1:]
	}
	return n
}

// sameNumber says that two numbers are the same: whole ones exactly, whatever
// their size, fractions nearly.
func sameNumber(a, b []byte) bool {
	var first, second [32]byte
	a, b = plain(first[:0], a), plain(second[:0], b)
	if bytes.Equal(a, b) {
		return true
	}
	if whole(a) && whole(b) {
		return false
	}
	x, y, ok := floats(a, b)
	return ok && math.Abs(x-y) <= epsilon*max(math.Abs(x), math.Abs(y))
}

func whole(n []byte) bool { return !bytes.ContainsAny(n, ".eE") }

func floats(a, b []byte) (x, y float64, ok bool) {
	x, err := strconv.ParseFloat(string(a), 64)
	if err != nil {
		return 0, 0, false
	}
	y, err = strconv.ParseFloat(string(b), 64)
	return x, y, err == nil && !math.IsNaN(x) && !math.IsNaN(y) && !math.IsInf(x, 0) && !math.IsInf(y, 0)
}

// scanNumber returns how many bytes at the beginning of b are a number of JSON,
// 0 if none.
func scanNumber(b []byte) int {
	i := 0
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := digits(b[i:])
	if whole == 0 || whole > 1 && b[i] == '0' {
		return 0
	}
	i += whole
	if i < len(b) && b[i] == '.' {
		fraction := digits(b[i+1:])
		if fraction == 0 {
			return 0
		}
		i += 1 + fraction
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		j := i + 1
		if j < len(b) && (b[j] == '+' || b[j] == '-') {
			j++
		}
		exponent := digits(b[j:])
		if exponent == 0 {
			return 0
		}
		i = j + exponent
	}
	return i
}

// digits counts those at the beginning of b.
func digits(b []byte) int {
	for i, c := range b {
		if c-'0' > 9 {
			return i
		}
	}
	return len(b)
}
