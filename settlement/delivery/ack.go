package delivery

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/settlement/files"
)

// AckSuffix is what the name of an acknowledgement has behind the file's.
const AckSuffix = files.AckSuffix

// FlagSuffix is what the name of the flag has that says that a file is complete.
const FlagSuffix = files.FlagSuffix

// maxAck is the size of the largest acknowledgement: a line.
const maxAck = 256

// Ack is what a member says of a file that it has taken in: one line
//
//	<lines>,<net>,<SHA-256>
//
// such as 12,-2.3074,9a4e...: how many items it has booked, what they come to, and the
// digest of the file. Of a file without items it is 0,0.0000 and the digest.
type Ack struct {
	Lines  uint64
	Net    string
	Digest string
}

// AckOf is what a member has to say of a file.
func AckOf(o *files.Output) Ack {
	return Ack{Lines: o.Lines, Net: o.Net.Decimal(files.Scale), Digest: hex.EncodeToString(o.Digest[:])}
}

// String renders the line without its end.
func (a Ack) String() string { return fmt.Sprintf("%d,%s,%s", a.Lines, a.Net, a.Digest) }

// ParseAck reads an acknowledgement. Its line may end with LF, CRLF or nothing.
func ParseAck(r io.Reader) (Ack, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxAck+1))
	if err != nil {
		return Ack{}, fmt.Errorf("acknowledgement: %w", err)
	}
	if len(text) > maxAck {
		return Ack{}, fmt.Errorf("acknowledgement: more than %d bytes, want one line: lines,net,SHA-256", maxAck)
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	columns := strings.Split(line, ",")
	if len(columns) != 3 {
		return Ack{}, fmt.Errorf("acknowledgement %q: %d columns, want lines,net,SHA-256", line, len(columns))
	}
	var a Ack
	if a.Lines, err = strconv.ParseUint(columns[0], 10, 64); err != nil {
		return Ack{}, fmt.Errorf("acknowledgement %q: lines %q is not a number", line, columns[0])
	}
	whole, decimals, pointed := strings.Cut(strings.TrimPrefix(columns[1], "-"), ".")
	if !pointed || len(decimals) != files.Scale || whole == "" || strings.Trim(whole+decimals, "0123456789") != "" {
		return Ack{}, fmt.Errorf("acknowledgement %q: net %q is not an amount with %d decimals", line, columns[1], files.Scale)
	}
	a.Net = columns[1]
	digest, err := hex.DecodeString(columns[2])
	if err != nil || len(digest) != 32 {
		return Ack{}, fmt.Errorf("acknowledgement %q: %q is not a SHA-256", line, columns[2])
	}
	a.Digest = hex.EncodeToString(digest)
	return a, nil
}

// Differs says in what an acknowledgement is not what it has to be: the member has not
// booked what was sent. nil: it agrees.
func (a Ack) Differs(want Ack) error {
	var errs []error
	if a.Lines != want.Lines {
		errs = append(errs, fmt.Errorf("%d lines were taken in, %d were sent", a.Lines, want.Lines))
	}
	if a.Net != want.Net {
		errs = append(errs, fmt.Errorf("they come to %s, sent was %s", a.Net, want.Net))
	}
	if a.Digest != want.Digest {
		errs = append(errs, fmt.Errorf("the digest is %s, sent was %s", a.Digest, want.Digest))
	}
	return errors.Join(errs...)
}
