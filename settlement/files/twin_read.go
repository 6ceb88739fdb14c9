package files

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// twin holds the CSV twin of a detail file against it, row by row: the same fields, so
// that whoever reads the one in a spreadsheet has read the other. What the merchant is
// called only the twin says; it has to be a cell. A detail file that is not there is not
// compared with; that it is missing is told elsewhere.
func (v *verifier) twin(name Name, in io.Reader, checked *Checked) (digest [32]byte, err error) {
	d := NewDigest(io.Discard)
	rows := bufio.NewReaderSize(io.TeeReader(in, d), bufferSize)
	name.Ext = "txt"
	detail, err := v.folder.Open(name.String())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return digest, err //nolint:wrapcheck // the caller says which file.
	default:
		defer func() { err = errors.Join(err, detail.Close()) }()
		checked.Proof, checked.Against = ProofContent, name.String()
		if err := v.rows(rows, detail, checked); err != nil {
			return digest, err
		}
	}
	if _, err := io.Copy(io.Discard, rows); err != nil {
		return digest, err //nolint:wrapcheck // as above.
	}
	return d.Sum(), nil
}

// twins says of every twin whose detail file turned out to be broken that nothing is known of it:
// to be equal to what is wrong proves nothing, and to differ from it neither.
func (v *verifier) twins() {
	for i := range v.report.Files {
		twin := &v.report.Files[i]
		if twin.Against == "" {
			continue
		}
		broken := slices.ContainsFunc(v.report.Files, func(c Checked) bool { return c.Name == twin.Against && c.Broken > 0 })
		if broken {
			twin.Proof = ProofUnknown
		}
	}
}

// rows compares until the two are at their ends, or cannot be compared any further.
func (v *verifier) rows(twin *bufio.Reader, detail io.Reader, checked *Checked) error {
	d, broken, err := NewDetailReader(detail)
	if err != nil || broken != nil {
		checked.Proof = ProofUnknown
		return ignoreEOF(err) // The detail's own report has it.
	}
	at := uint64(1)
	wrong := func(column int, field, found, expected string) {
		v.report.add(checked.Name, FormatError{Line: at, Column: column, Field: field, Found: found, Expected: expected})
	}
	head, err := twin.ReadSlice('\n')
	if string(head) != twinHead() {
		wrong(1, "head", quoted(head), "the names of the detail file's fields, then "+merchantColumn)
		return ignoreEOF(err)
	}
	var l Line
	var line, row []byte
	for {
		more, broken, err := d.Next(&l)
		if _, behind := errors.AsType[FormatError](err); err != nil && !behind {
			return err
		}
		if broken != nil || err != nil {
			checked.Proof = ProofUnknown
		}
		at++
		found, err := twin.ReadSlice('\n')
		switch {
		case !more && errors.Is(err, io.EOF) && len(found) == 0:
			return nil
		case !more:
			wrong(1, "row", quoted(found), "the end of the file: the detail file has no more items")
			return ignoreEOF(err)
		case err != nil:
			wrong(1, "row", quoted(found), "a row as the detail file has an item, and CR LF")
			return ignoreEOF(err)
		}
		checked.Lines++
		if broken != nil {
			continue // The detail's own report has it; what its fields are is not known.
		}
		if line, err = appendLine(line[:0], &l); err != nil {
			return err
		}
		row = appendTwin(row[:0], line, &l, int(d.Header().Scale), "")
		compareRow(found, bytes.TrimSuffix(row, []byte(lineEnd)), wrong)
	}
}

// compareRow holds a row against the cells that the detail file's fields come to; behind
// them stands the merchant's name.
func compareRow(found, want []byte, wrong func(column int, field, found, expected string)) {
	rest, same := bytes.CutPrefix(found, want)
	if !same {
		is, should := bytes.Split(found, []byte(",")), bytes.Split(want, []byte(","))
		column := 1
		for i := range lines.fields {
			if i >= len(is) || i >= len(should) || !bytes.Equal(is[i], should[i]) {
				found := "nothing"
				if i < len(is) {
					found = quoted(is[i])
				}
				expected := "nothing"
				if i < len(should) {
					expected = quoted(should[i])
				}
				wrong(column, lines.fields[i].Name, found, expected+", as the detail file says")
				return
			}
			column += len(is[i]) + 1
		}
		wrong(1, "row", quoted(found), "the fields of the detail file")
		return
	}
	cell, ended := bytes.CutSuffix(rest, []byte(lineEnd))
	inside, opened := bytes.CutPrefix(cell, []byte{'"'})
	inside, closed := bytes.CutSuffix(inside, []byte{'"'})
	plain := !bytes.ContainsAny(cell, ",\"\r\n")
	if !ended || !plain && (!opened || !closed || strings.Contains(strings.ReplaceAll(string(inside), `""`, ""), `"`)) {
		wrong(len(want)+1, merchantColumn, quoted(rest), "one cell and CR LF")
	}
}

// ignoreEOF is an error of reading; the end of a file is none.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}
