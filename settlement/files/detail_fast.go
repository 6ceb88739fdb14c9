package files

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// A day has tens of millions of lines. What the layout of a TX record says field by field
// stands here once more as straight code, which takes a fifth of the time. The layout is
// what counts: whatever the code here does not know what to do with goes to it, and tests
// hold the one against the other.

// lineBytes is the length of a TX record with its end.
const lineBytes = 393

// parseLine reads a line, without its end, as layout.parse does.
func parseLine(line []byte, at uint64, l *Line) []FormatError {
	if len(line) == lineBytes-len(lineEnd) && takeLine((*[lineBytes - len(lineEnd)]byte)(line), l) {
		return nil
	}
	return lines.parse(line, at, l) // It says what is broken.
}

// takeLine reads a record, and reports whether all of it is as it has to be. Where it is
// not, some of l is set.
func takeLine(b *[lineBytes - len(lineEnd)]byte, l *Line) bool {
	blanks := true
	for _, at := range betweenFields {
		blanks = blanks && b[at] == ' '
	}
	return blanks && string(b[:2]) == lines.tag && takeNumber(b[3:15], &l.Number) && takeNumber(b[16:36], &l.ID) && takeKind(b[37:40], &l.Kind) &&
		takeNumber(b[41:49], &l.Acquirer) && takeNumber(b[50:58], &l.Forwarder) && takeNumber(b[59:67], &l.Issuer) &&
		takeNumber(b[68:74], &l.STAN) && takeMoment(b[75:89], &l.Transmitted) && takeMoment(b[90:104], &l.Local) &&
		takeText(b[105:117], l.RRN[:]) && takeText(b[118:124], l.Auth[:]) &&
		takeNumber(b[125:129], &l.MTI) && takeNumber(b[130:136], &l.Processing) && takeNumber(b[137:140], &l.EntryMode) &&
		takeNumber(b[141:143], &l.Condition) && takeNumber(b[144:148], &l.Category) &&
		takeText(b[149:157], l.Terminal[:]) && takeText(b[158:173], l.Merchant[:]) && takeText(b[174:193], l.Account[:]) &&
		takeText(b[194:200], l.Asset[:]) && takeNumber(b[201:202], &l.AssetScale) && takeSigned(b[203:219], &l.Amount) &&
		takeNumber(b[220:228], &l.RateVersion) && takeNumber(b[229:241], &l.Num) && takeNumber(b[242:254], &l.Den) &&
		takeSigned(b[255:271], &l.Std) && takeSigned(b[272:285], &l.Interchange) && takeSigned(b[286:299], &l.SwitchFee) &&
		takeSigned(b[300:313], &l.VAT) && takeSigned(b[314:327], &l.Other) && takeSigned(b[328:344], &l.Net) &&
		takeNumber(b[345:353], &l.OriginalDate) && (l.OriginalDate == 0 || l.OriginalDate.Valid()) && takeNumber(b[354:374], &l.Original) &&
		takeText(b[375:377], l.Response[:]) && takeFlags(b[378:382], &l.Flags) && string(b[383:391]) == "        "
}

// betweenFields is where a record has its blanks.
var betweenFields = blanksOf(&lines)

func blanksOf(l *layout[Line]) (all []int) {
	for _, f := range l.fields[1:] {
		all = append(all, f.From-2)
	}
	return all
}

func takeNumber[T unsigned](src []byte, to *T) bool {
	v, ok := takeDigits(src)
	*to = T(v)
	return ok && uint64(*to) == v
}

func takeSigned(src []byte, to *points.Amount) bool {
	v, ok := takeDigits(src[1:])
	*to = points.Amount(v) //nolint:gosec // fifteen digits at most.
	if src[0] == 'D' {
		*to = -*to
		return ok && v != 0
	}
	return ok && src[0] == 'C'
}

func takeMoment(src []byte, to *uint64) bool {
	return takeNumber(src, to) && (*to == 0 || validMoment(*to))
}

func takeKind(src []byte, to *tariff.Kind) bool {
	for i, code := range kindsInOrder {
		if string(src) == code {
			*to = tariff.Kind(i + 1)
			return true
		}
	}
	return false
}

// takeText copies printable ASCII, which it looks at eight bytes at a time where there are
// as many.
func takeText(src, to []byte) bool {
	if len(src) < eight {
		for _, c := range src {
			if c < ' ' || c > '~' {
				return false
			}
		}
	} else {
		wrong := unprintable(binary.LittleEndian.Uint64(src[len(src)-eight:]))
		for at := 0; at <= len(src)-eight; at += eight {
			wrong |= unprintable(binary.LittleEndian.Uint64(src[at:]))
		}
		if wrong != 0 {
			return false
		}
	}
	copy(to, src)
	return true
}

// takeFlags reads letters in their order, and blanks behind them.
func takeFlags(src []byte, to *Flags) bool {
	*to = 0
	for i := 0; len(src) > 0 && i < len(flagLetters); i++ {
		if src[0] == flagLetters[i] {
			*to |= 1 << i
			src = src[1:]
		}
	}
	for _, c := range src {
		if c != ' ' {
			return false
		}
	}
	return true
}

// appendLine writes l as layout.append does.
func appendLine(dst []byte, l *Line) ([]byte, error) {
	start := len(dst)
	dst = append(dst, lines.blank...)
	if !putLine((*[lineBytes]byte)(dst[start:]), l) {
		return lines.append(dst[:start], l) // It says what does not fit.
	}
	return dst, nil
}

// putLine fills in a record that is blank, and reports whether all of it fits.
func putLine(b *[lineBytes]byte, l *Line) bool { return putShared(b, l) && putOwn(b, l) }

// Shared is the part of a record that is the same in the files of all who receive an item:
// it is written once, and copied to where what differs is filled in.
type Shared [lineBytes]byte

// Fill writes all fields of l but Number, Asset to Den, and Std to Net. It reports whether
// they fit; where they do not, [DetailWriter.Write] says what does not.
func (s *Shared) Fill(l *Line) bool {
	copy(s[:], lines.blank)
	return putShared((*[lineBytes]byte)(s), l)
}

// appendShared writes l, of which only what [Shared] leaves out and the clearing id are
// looked at, and reports whether that fits.
func appendShared(dst []byte, s *Shared, l *Line) ([]byte, bool) {
	start := len(dst)
	dst = append(dst, s[:]...)
	if !putOwn((*[lineBytes]byte)(dst[start:]), l) {
		return dst[:start], false
	}
	return dst, true
}

// putOwn fills in what an item's lines in several files differ in.
func putOwn(b *[lineBytes]byte, l *Line) bool {
	return putDigits(b[3:15], l.Number) &&
		putText(b[194:200], l.Asset[:]) && putDigits(b[201:202], uint64(l.AssetScale)) && putSigned(b[203:219], l.Amount) &&
		putDigits(b[220:228], uint64(l.RateVersion)) && putDigits(b[229:241], l.Num) && putDigits(b[242:254], l.Den) &&
		putSigned(b[255:271], l.Std) && putSigned(b[272:285], l.Interchange) && putSigned(b[286:299], l.SwitchFee) &&
		putSigned(b[300:313], l.VAT) && putSigned(b[314:327], l.Other) && putSigned(b[328:344], l.Net)
}

// putShared fills in the rest.
func putShared(b *[lineBytes]byte, l *Line) bool {
	return copy(b[:], lines.tag) > 0 && putDigits(b[16:36], l.ID) && putKind(b[37:40], l.Kind) &&
		putDigits(b[41:49], uint64(l.Acquirer)) && putDigits(b[50:58], uint64(l.Forwarder)) && putDigits(b[59:67], uint64(l.Issuer)) &&
		putDigits(b[68:74], uint64(l.STAN)) && putDigits(b[75:89], l.Transmitted) && putDigits(b[90:104], l.Local) &&
		putText(b[105:117], l.RRN[:]) && putText(b[118:124], l.Auth[:]) &&
		putDigits(b[125:129], uint64(l.MTI)) && putDigits(b[130:136], uint64(l.Processing)) && putDigits(b[137:140], uint64(l.EntryMode)) &&
		putDigits(b[141:143], uint64(l.Condition)) && putDigits(b[144:148], uint64(l.Category)) &&
		putText(b[149:157], l.Terminal[:]) && putText(b[158:173], l.Merchant[:]) && putText(b[174:193], l.Account[:]) &&
		putDigits(b[345:353], uint64(l.OriginalDate)) && putDigits(b[354:374], l.Original) && putText(b[375:377], l.Response[:]) &&
		putFlags(b[378:382], l.Flags)
}

// kindsInOrder are made once. Nothing changes them.
var kindsInOrder = kindCodes()

func putKind(dst []byte, kind tariff.Kind) bool {
	return kind >= 1 && int(kind) <= len(kindsInOrder) && copy(dst, kindsInOrder[kind-1]) > 0
}

func putSigned(dst []byte, a points.Amount) bool {
	if a < 0 {
		dst[0] = 'D'
		return putDigits(dst[1:], -uint64(a)) //nolint:gosec // two's complement: the negation is |a|.
	}
	dst[0] = 'C'
	return putDigits(dst[1:], uint64(a))
}

// putText copies printable ASCII, and what was never filled in.
func putText(dst, src []byte) bool { return takeText(src, dst) || putBytes(dst, src) }

const (
	eight   = 8
	ones    = 0x0101010101010101
	highest = 0x80 * ones
)

// unprintable is not 0 where one of eight bytes is not from ' ' to '~'.
func unprintable(x uint64) uint64 {
	return ((x - ' '*ones) | (x + (0x7f-'~')*ones) | x) & highest
}

// putBytes copies printable ASCII; where src was never filled in, dst stays as it is.
func putBytes(dst, src []byte) bool {
	for i, c := range src {
		switch {
		case c == 0: // what was never filled in
		case c < ' ' || c > '~':
			return false
		default:
			dst[i] = c
		}
	}
	return true
}

func putFlags(dst []byte, flags Flags) bool {
	n := 0
	for i := 0; flags != 0 && i < len(flagLetters); i++ {
		if flags&(1<<i) != 0 {
			dst[n] = flagLetters[i]
			flags &^= 1 << i
			n++
		}
	}
	return flags == 0
}
