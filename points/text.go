package points

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckText refuses a text that does not read as it looks: one that is not UTF-8, or
// has control characters (a line break too), or characters that are not seen, such as
// those that turn the direction of what stands behind them. what names the text.
func CheckText(what, text string) error {
	n := 0
	for at, r := range text {
		n++
		if r == utf8.RuneError && !strings.HasPrefix(text[at:], string(utf8.RuneError)) {
			return Errorf(FormatError, "%s: byte %d is not UTF-8; write it in UTF-8", what, at+1)
		}
		if unseen(r) {
			return Errorf(FormatError, "%s: character %d is %U, a control character or one that is not seen; leave it out", what, n, r)
		}
	}
	return nil
}

// unseen reports whether r steers how text is shown instead of being shown: control
// and format characters, separators of lines.
func unseen(r rune) bool {
	const hanFirst, hanLast = 0x4e00, 0x9fff // Most names are of these, or of ASCII.
	if (r >= ' ' && r <= '~') || (r >= hanFirst && r <= hanLast) {
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Escaped is text with what [CheckText] refuses written out, such as \u202e, for
// texts that are older than the check. What is clean comes back as it is.
func Escaped(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, unseen) {
		return text
	}
	var b strings.Builder
	for at, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[at:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[at])
		case !unseen(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// EscapedJSON is a JSON text with the same characters written out where strings have
// them; it means the same. Outside strings JSON has none but line breaks and tabs,
// which stay.
func EscapedJSON(text []byte) []byte {
	steers := func(r rune) bool { return unseen(r) && r >= 0x7f } // Those below stand escaped in strings.
	if strings.IndexFunc(string(text), steers) < 0 {
		return text
	}
	b := make([]byte, 0, len(text)+16)
	for _, r := range string(text) {
		switch {
		case !steers(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			const low, mask = 10, 1<<10 - 1
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>low, 0xdc00+(r-0x10000)&mask)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}
