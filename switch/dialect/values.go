package dialect

import (
	"bytes"
	"strconv"

	"github.com/lianfen/lianfen/points"
)

// requestElement says how one data element of a request is understood and
// written. The zero value is an element that is accepted and not looked at.
type requestElement struct {
	// read stores a value that the field table has passed, and returns what is
	// wrong with it, "" for nothing.
	read func(r *points.Request, value []byte) string
	// write appends the value for the wire to dst; there is false when r has nothing to say.
	write func(dst []byte, r *points.Request) (longer []byte, there bool)
	// late elements mean different things in different functions; they are read
	// when the function is known.
	late bool
}

type unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

// numeric is an element of exactly width digits.
func numeric[T unsigned](width int, at func(*points.Request) *T, check func(uint64) string) requestElement {
	return requestElement{
		read: func(r *points.Request, value []byte) string {
			n := number(value)
			if check != nil {
				if wrong := check(n); wrong != "" {
					return wrong
				}
			}
			*at(r) = T(n)
			return ""
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			n := uint64(*at(r))
			return appendDecimal(dst, n, width), n != 0
		},
	}
}

// amount is an element of width digits that holds points.
func amount(width int, at func(*points.Request) *points.Amount) requestElement {
	return requestElement{
		read: func(r *points.Request, value []byte) string {
			*at(r) = points.Amount(number(value)) //nolint:gosec // at most 16 digits.
			return ""
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			return appendAmount(dst, *at(r), width), *at(r) != 0
		},
	}
}

// appendAmount appends an amount that goes on the wire without a sign. A negative
// one keeps its sign, and the element does not hold it.
func appendAmount(dst []byte, a points.Amount, width int) []byte {
	if a < 0 {
		return strconv.AppendInt(dst, int64(a), 10)
	}
	return appendDecimal(dst, uint64(a), width)
}

// text is an element copied as it is.
func text(at func(*points.Request) []byte) requestElement {
	return requestElement{
		read: func(r *points.Request, value []byte) string {
			copy(at(r), value)
			return ""
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			return append(dst, at(r)...), !isBlank(at(r))
		},
	}
}

func isBlank(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != 0 {
			return false
		}
	}
	return true
}

// institution is the number of an acquirer, forwarder or issuer, 1 to 11 digits.
// It is written in eight digits at least, the width of institution numbers in
// settlement files.
func institution[T unsigned](at func(*points.Request) *T) requestElement {
	return requestElement{
		read: func(r *points.Request, value []byte) string {
			*at(r) = T(number(value))
			return ""
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			return appendInstitution(dst, *at(r)), *at(r) != 0
		},
	}
}

// institutionWidth is how many digits an institution's number has at least.
const institutionWidth = 8

func appendInstitution[T unsigned](dst []byte, id T) []byte {
	return appendDecimal(dst, uint64(id), institutionWidth)
}

// program is DE49 or DE50: a programme's code. Money, 156, is no programme.
func program(at func(*points.Request) *points.ProgramID) requestElement {
	return requestElement{
		read: func(r *points.Request, value []byte) string {
			id, wrong := parseProgram(value)
			if wrong == "" {
				*at(r) = id
			}
			return wrong
		},
		write: func(dst []byte, r *points.Request) ([]byte, bool) {
			return appendProgram(dst, *at(r)), *at(r) != 0
		},
	}
}

func parseProgram(value []byte) (id points.ProgramID, wrong string) {
	if classN.check(value) != nil {
		return 0, "a code that is not three digits"
	}
	id = points.ProgramID(number(value)) //nolint:gosec // three digits.
	switch id {
	case 0:
		return 0, "code 000, want 001 to 999"
	case points.Renminbi:
		return 0, ""
	default:
		return id, ""
	}
}

func appendProgram(dst []byte, id points.ProgramID) []byte {
	if id == 0 {
		id = points.Renminbi
	}
	return appendDecimal(dst, uint64(id), 3)
}

// Checks of dates and times. A year is not on the wire, so that 29 February is
// always a day.

func checkClock(hhmmss uint64) string {
	if hhmmss/10000 > 23 || hhmmss/100%100 > 59 || hhmmss%100 > 59 {
		return "not a time of day, want hhmmss"
	}
	return ""
}

func checkDay(mmdd uint64) string {
	longest := [...]uint64{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	month, day := mmdd/100, mmdd%100
	if month < 1 || month > 12 || day < 1 || day > longest[month] {
		return "not a day of the year, want MMDD"
	}
	return ""
}

func checkExpiry(yymm uint64) string {
	if month := yymm % 100; month < 1 || month > 12 {
		return "not a month, want YYMM"
	}
	return ""
}

func checkStamp(stamp uint64) string {
	if checkDay(stamp/1_000_000) != "" || checkClock(stamp%1_000_000) != "" {
		return "not a date and time, want MMDDhhmmss"
	}
	return ""
}

// readTrack takes card number and expiry out of a track: the number up to the
// separator, then YYMM. Track 3 has two digits of format code in front. Where
// DE2 was sent, it names the card and the track is not looked at.
func readTrack(skip int) func(r *points.Request, value []byte) string {
	return func(r *points.Request, value []byte) string {
		if r.Has(2) {
			return ""
		}
		digits, rest, found := bytes.Cut(value[min(skip, len(value)):], []byte("="))
		if !found {
			return "no separator after the card number"
		}
		pan, err := points.ParsePAN(digits)
		if err != nil {
			return "no card number of 1 to 19 digits before the separator"
		}
		r.PAN = pan
		if skip == 0 && len(rest) >= 4 && !r.Has(14) && classN.check(rest[:4]) == nil {
			if yymm := number(rest[:4]); checkExpiry(yymm) == "" {
				r.Expiry = uint32(yymm) //nolint:gosec // four digits.
			}
		}
		return ""
	}
}
