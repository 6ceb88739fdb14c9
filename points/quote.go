package points

import "strconv"

// QuoteSize is the length of DE62 of a swap: the quote in 16 digits, and YYMMDDhhmmss of its
// end.
const QuoteSize = 16 + 12

// ParseQuote reads the quote of DE62 of a swap: the position of its record. Trailing zero
// bytes and blanks do not count.
func ParseQuote(de62 []byte) (Position, error) {
	text := string(trimBlank(de62))
	if len(text) != QuoteSize {
		return 0, Errorf(FormatError, "quote of %d characters, want the %d of the quote's answer", len(text), QuoteSize)
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, Errorf(FormatError, "quote %q: want digits only", text)
		}
	}
	position, err := strconv.ParseUint(text[:16], 10, 63)
	if err != nil || position == 0 {
		return 0, Errorf(FormatError, "quote %q: there is none of this number", text)
	}
	return Position(position), nil
}

func trimBlank(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == 0 || b[len(b)-1] == ' ') {
		b = b[:len(b)-1]
	}
	return b
}

// QuoteRatio is DE9 of a swap, for display: the first digit says how many decimals, the
// other seven are out for one in, rounded down, with as many decimals as fit.
func QuoteRatio(in, out Amount) uint32 {
	const digits = 9_999_999
	best := uint32(0)
	scale := uint64(1)
	for decimals := range uint32(8) {
		if ratio, _, ok := out.MulRat(scale, uint64(max(in, 1))); ok && ratio >= 0 && ratio <= digits {
			best = decimals*(digits+1) + uint32(ratio)
		}
		scale *= 10
	}
	return best
}
