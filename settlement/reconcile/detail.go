package reconcile

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
)

// Detail reads a partner's detail file (DET), one part of it.
type Detail struct {
	in     *files.DetailReader
	header files.Header
	side   Side
	bad    func(BadLine) error
	item   files.Line
}

// NewDetail reads the header. What cannot be read of the lines goes to bad, and so does
// what can be read and does not compute, which is compared all the same. Its error, and
// every error here, refuses the file whole.
func NewDetail(r io.Reader, side Side, bad func(BadLine) error) (*Detail, error) {
	in, broken, err := files.NewDetailReader(r)
	if err == nil && broken != nil {
		err = allOf(broken)
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	d := &Detail{in: in, header: in.Header(), side: side, bad: bad}
	if roles := [sides]files.Role{Acquirer: files.RoleAcquirer, Issuer: files.RoleIssuer}; roles[side] != d.header.Role {
		return nil, points.Errorf(points.FormatError, "header: role %v, want that of the %v", d.header.Role, side)
	}
	return d, nil
}

func allOf(broken []files.FormatError) error {
	all := make([]error, len(broken))
	for i := range broken {
		all[i] = broken[i]
	}
	return errors.Join(all...)
}

// Header is the file's header.
func (d *Detail) Header() files.Header { return d.header }

// Tells is what of the optional fields its lines tell: all.
func (*Detail) Tells() Fields { return TellsStatus | TellsFee | TellsDate }

// Next reads the next line that can be read.
func (d *Detail) Next(line *Line) (bool, error) {
	for {
		more, broken, err := d.in.Next(&d.item)
		switch {
		case err != nil:
			return false, err //nolint:wrapcheck // it names the line.
		case !more && broken != nil:
			return false, allOf(broken)
		case !more:
			return false, nil
		}
		raw, parsed := d.in.Raw()
		if broken != nil && d.bad != nil {
			b := BadLine{Number: d.in.Lines(), Raw: []byte(string(raw)), Why: strings.ReplaceAll(allOf(broken).Error(), "\n", "; ")}
			if err := d.bad(b); err != nil {
				return false, err
			}
		}
		if parsed {
			d.fill(line)
			return true, nil
		}
	}
}

// fill makes a line of an item as its receiver sees it.
func (d *Detail) fill(line *Line) {
	item := &d.item
	*line = Line{
		Key:    Key{RRN: item.RRN, Acquirer: points.AcquirerID(item.Acquirer), When: item.Transmitted, STAN: item.STAN},
		Number: d.in.Lines(), CID: item.ID, Amount: int64(item.Amount), Issuer: points.IssuerID(item.Issuer), Date: d.header.Date,
		Asset: AssetOf(string(item.Asset[:])), Status: item.Response, Tells: d.Tells(),
	}
	copy(line.Kind[:], item.Kind.String())
	if d.side == Issuer {
		line.Amount = -line.Amount // Both sides in the acquirer's view.
	}
	line.Fees[d.side] = int64(item.Interchange) + int64(item.SwitchFee) + int64(item.VAT) + int64(item.Other)
}
