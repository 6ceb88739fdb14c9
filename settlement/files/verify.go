package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Breach is one thing that is not as it must be.
type Breach struct {
	File string `json:"file"`
	FormatError
}

// Error says it in one line that an editor can jump to.
func (b Breach) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s: found %s, expected %s", b.File, b.Line, b.Column, b.Field, b.Found, b.Expected)
}

// Checked is one file that was read.
type Checked struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Lines  uint64 `json:"lines,omitempty"` // items or rows
	Net    string `json:"net,omitempty"`   // of a detail file, in standard points
	Broken uint64 `json:"broken"`
	Listed bool   `json:"listed"` // in SHA256SUMS, with this digest
	Proof  Proof  `json:"proof"`
	// Against is the detail file that a CSV twin was compared with.
	Against string `json:"against,omitempty"`

	net    Sum
	header Header
	digest [32]byte
}

// Proof says by what a file was proved.
type Proof string

// What proves a file, if nothing is broken in it.
const (
	// ProofContent: what it says follows from itself and the rest of the set.
	ProofContent Proof = "content"
	// ProofDigest: it is the file that SHA256SUMS lists; what it says was not checked.
	ProofDigest Proof = "digest"
	// ProofNone: nothing was checked: neither is it listed nor does anything tell what it has to say.
	ProofNone Proof = "none"
	// ProofUnknown: it repeats a file that is broken, so that nobody can tell whether it is right.
	ProofUnknown Proof = "unknown"
	// ProofFlag: it says that another file is complete, and has the digest of that.
	ProofFlag Proof = "flag"
	// ProofMember: it is the member's own, and no part of the set: an acknowledgement, or
	// what the operator answered to one.
	ProofMember Proof = "member"
)

// SignatureValid is what a report says of a signature that was proved.
const SignatureValid = "valid"

// MaxBreaches is how many breaches a report names; it counts all.
const MaxBreaches = 10_000

// Report is what Verify found.
type Report struct {
	OK        bool      `json:"ok"`
	Mode      string    `json:"mode,omitempty"` // production, test or dry run: of a dry run nothing is to be booked
	Signature string    `json:"signature"`      // SignatureValid, not checked, or what is wrong with it
	Files     []Checked `json:"files"`
	Broken    uint64    `json:"broken"`
	Breaches  []Breach  `json:"breaches"`
}

func (r *Report) add(file string, broken ...FormatError) {
	r.Broken += uint64(len(broken))
	for _, b := range broken {
		if len(r.Breaches) < MaxBreaches {
			r.Breaches = append(r.Breaches, Breach{file, b})
		}
	}
}

// Check says what to verify a set with.
type Check struct {
	Keys  []ssh.PublicKey              // the operator's; none: the signature is not checked
	Scale int                          // decimals of the standard unit in NET files
	Whole bool                         // the folder is a set: what every set has is missed where it is not there
	House bool                         // it is the operator's: all members' positions, and what is paid for them
	Sums  []Output                     // digests of the files, where no SHA256SUMS among them has these; the operator's are in the run's list
	Read  func(name string, bytes int) // told of what was read; may be nil
}

// Verify proves one member's set in a folder, or its files in only: the signature of
// SHA256SUMS, every digest, every line of every detail file by computing it again, that
// no part is missing, and that the lines of all of them come to the member's figure in
// NET; and that statement, notification, journal and page are what follows from these. Flags
// that lie beside the files and what the member has put there are known for what they are. It
// goes on behind what is broken and names all of it; the error is of reading.
func Verify(folder fs.FS, only []string, check Check) (*Report, error) {
	v := verifier{
		folder: folder, check: check, report: &Report{Signature: "not checked"},
		texts: make(map[string][]byte), traded: make(merchants), with: make(map[tariff.Member]int), ours: make(map[string][32]byte),
	}
	names := only
	if len(only) == 0 {
		entries, err := fs.ReadDir(folder, ".")
		if err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		for _, e := range entries {
			if !e.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	if len(names) == 0 {
		return nil, errors.New("verify: there is no file in the folder")
	}
	if err := v.signature(); err != nil {
		return nil, err
	}
	if !v.listed && len(check.Sums) > 0 {
		v.listed, v.sums = true, check.Sums
	}
	flags, names := v.aside(names)
	for _, name := range names {
		if err := v.file(name); err != nil {
			return nil, fmt.Errorf("verify %s: %w", name, err)
		}
	}
	v.twins()
	if len(only) == 0 {
		v.missing()
		if check.Whole {
			v.lacking(names)
		}
		v.parts()
		v.modes()
		v.figures()
		v.contents()
		if name, net := ParseName(v.netsIn); net && check.House {
			v.payments(name)
		}
	}
	for _, f := range flags {
		if err := v.flag(f); err != nil {
			return nil, fmt.Errorf("verify %s: %w", f.name, err)
		}
	}
	v.report.OK = v.report.Broken == 0
	return v.report, nil
}

// lacking names what every set has and this one has not: without digests, positions or a
// statement much is in order because there is nothing to hold it against.
func (v *verifier) lacking(names []string) {
	wanted := []string{SumsName, "QZ_NET_", "QZ_EXC_", "QZ_STM_", JournalName, StatementName}
	if v.check.House {
		wanted = []string{"QZ_NET_", "QZ_EXC_"}
	}
	for _, want := range wanted {
		there := slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, want) })
		if !there && (want != SumsName || !v.listed) {
			v.report.add(want, FormatError{Line: 1, Column: 1, Field: "file", Found: "no such file", Expected: "one in every set"})
		}
	}
}

type verifier struct {
	folder fs.FS
	check  Check
	report *Report
	sums   []Output
	listed bool // there is a SHA256SUMS
	net    map[tariff.Member]Sum
	netsIn string // the NET file

	owed    []Position        // the rows of the NET file
	texts   map[string][]byte // files that follow from the others, as far as they are not too long
	notices []Entry           // what the notification has to say
	traded  merchants         // what the page has to say of merchants
	rates   EntryRates        // what the statement has to say of points
	with    map[tariff.Member]int
	ours    map[string][32]byte
}

// signature reads SHA256SUMS and what signs it.
func (v *verifier) signature() error {
	sums, err := v.small(SumsName)
	if errors.Is(err, fs.ErrNotExist) {
		if len(v.check.Keys) > 0 {
			v.report.Signature = "missing: " + SumsName + ", which it would sign, is not here; ask the operator for it"
			v.report.add(SumsName, FormatError{Line: 1, Column: 1, Field: "file", Found: "no such file", Expected: "digests, signed by the operator"})
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	v.listed = true
	v.ours[SumsName] = sha256.Sum256(sums)
	var broken []FormatError
	if v.sums, broken, err = ParseSums(bytes.NewReader(sums)); err != nil {
		return fmt.Errorf("verify %s: %w", SumsName, err)
	}
	v.report.add(SumsName, broken...)
	armored, err := v.small(SignatureName)
	if err == nil {
		v.ours[SignatureName] = sha256.Sum256(armored)
	}
	if len(v.check.Keys) == 0 {
		return nil
	}
	if err == nil {
		err = CheckSignature(sums, armored, v.check.Keys)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("missing: " + SignatureName + " is not beside " + SumsName + "; ask the operator for it, or whether its files are signed")
	}
	if err != nil {
		v.report.Signature = err.Error()
		v.report.add(SignatureName, FormatError{Line: 1, Column: 1, Field: "signature", Found: err.Error(), Expected: "the operator's, of " + SumsName})
		return nil //nolint:nilerr // it is in the report.
	}
	v.report.Signature = SignatureValid
	return nil
}

// errNoFile refuses what is there and is no file: to read a pipe or a device may never end.
var errNoFile = errors.New("no regular file")

// open opens a file, or a link to one.
func (v *verifier) open(name string) (fs.File, error) {
	info, err := fs.Stat(v.folder, name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, errNoFile)
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says which file.
	}
	return v.folder.Open(name) //nolint:wrapcheck // as above.
}

// small reads a whole file that has no reason to be long.
func (v *verifier) small(name string) ([]byte, error) {
	file, err := v.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // Only read.
	text, err := io.ReadAll(io.LimitReader(file, maxSums+1))
	if err == nil && len(text) > maxSums {
		err = fmt.Errorf("%s: more than %d bytes", name, maxSums)
	}
	return text, err //nolint:wrapcheck // as above.
}

// told passes on what is read.
type told struct {
	io.Reader
	name string
	size int64
	tell func(string, int)
}

func (t *told) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.size += int64(n)
	if t.tell != nil && n > 0 {
		t.tell(t.name, n)
	}
	return n, err //nolint:wrapcheck // a reader says what its reader says.
}

func (v *verifier) file(name string) error {
	file, err := v.open(name)
	if errors.Is(err, errNoFile) {
		v.report.add(name, FormatError{Line: 1, Column: 1, Field: "file", Found: err.Error(), Expected: "the set's files only"})
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // Only read.
	in := &told{Reader: file, name: name, tell: v.check.Read}
	checked := Checked{Name: name}
	before := v.report.Broken
	var digest [32]byte
	parsed, known := ParseName(name)
	switch {
	case known && parsed.File == DET && parsed.Ext == "txt":
		digest, err = v.detail(parsed, in, &checked)
	case known && parsed.File == DET && parsed.Ext == "csv":
		digest, err = v.twin(parsed, in, &checked)
	case known && parsed.File == NET:
		digest, err = v.positions(parsed, in, &checked)
	default:
		digest, err = v.kept(name, in)
	}
	if err != nil {
		return err
	}
	checked.Bytes, checked.digest = in.size, digest
	v.against(name, digest, &checked)
	checked.Broken = v.report.Broken - before
	switch {
	case checked.Proof != "":
	case checked.Listed:
		checked.Proof = ProofDigest
	default:
		checked.Proof = ProofNone
	}
	v.report.Files = append(v.report.Files, checked)
	return nil
}

// against holds a file's digest against SHA256SUMS.
func (v *verifier) against(name string, digest [32]byte, checked *Checked) {
	if !v.listed {
		return
	}
	at := slices.IndexFunc(v.sums, func(o Output) bool { return o.Name == name })
	switch {
	case at < 0:
		v.report.add(name, FormatError{Line: 1, Column: 1, Field: "file", Found: "a file that " + SumsName + " does not list", Expected: "the set's files only"})
	case v.sums[at].Digest != digest:
		v.report.add(name, FormatError{
			Line: 1, Column: 1, Field: "sha256", Found: hex.EncodeToString(digest[:]), Expected: hex.EncodeToString(v.sums[at].Digest[:]) + ", which " + SumsName + " says",
		})
	default:
		checked.Listed = true
	}
}

// detail reads a detail file to its end.
func (v *verifier) detail(name Name, in io.Reader, checked *Checked) ([32]byte, error) {
	d, broken, err := NewDetailReader(in)
	file := checked.Name
	if err != nil {
		if !errors.Is(err, io.EOF) {
			return [32]byte{}, err
		}
		v.report.add(file, FormatError{Line: 1, Column: 1, Field: "rec", Found: "an empty file", Expected: `"HD"`})
		return d.Digest(), nil
	}
	v.report.add(file, broken...)
	h := d.Header()
	checked.header = h
	if len(broken) == 0 {
		said := Name{File: DET, Member: h.Receiver, Role: h.Role, Date: h.Date, Cycle: h.Cycle, Part: h.Part, Parts: h.Parts, Ext: "txt"}
		if said != name {
			v.report.add(file, FormatError{Line: 1, Column: 1, Field: "name", Found: file, Expected: said.String() + ", which the header says"})
		}
	}
	var l Line
	for {
		more, broken, err := d.Next(&l)
		v.report.add(file, broken...)
		if behind, ok := errors.AsType[FormatError](err); ok {
			v.report.add(file, behind)
		} else if err != nil {
			return [32]byte{}, err
		}
		if !more {
			break
		}
		if broken == nil {
			v.counts(&h, &l)
		}
	}
	checked.Proof = ProofContent
	_, counted := d.Trailer()
	checked.Lines, checked.net = counted.Lines, counted.Net
	checked.Net = counted.Net.Decimal(int(min(h.Scale, 5)))
	return d.Digest(), nil
}

// positions reads a NET file.
func (v *verifier) positions(name Name, in io.Reader, checked *Checked) ([32]byte, error) {
	d := NewDigest(io.Discard)
	rows, _, broken, err := ReadNet(io.TeeReader(in, d), v.check.Scale)
	if err != nil {
		return [32]byte{}, err
	}
	if _, err := io.Copy(d, in); err != nil {
		return [32]byte{}, err //nolint:wrapcheck // the caller says which file.
	}
	v.report.add(checked.Name, broken...)
	v.report.add(checked.Name, covers(rows, v.check.Scale)...)
	if len(broken) == 0 {
		v.report.add(checked.Name, wholes(rows, v.check.Scale)...)
		v.report.add(checked.Name, instructions(rows)...)
	}
	if v.netsIn != "" {
		v.report.add(checked.Name, FormatError{Line: 1, Column: 1, Field: "file", Found: "a second NET file beside " + v.netsIn, Expected: "one NET file in a set"})
		return d.Sum(), nil
	}
	for i := range rows {
		if rows[i].Member != name.Member && !v.check.House {
			v.report.add(checked.Name, FormatError{Line: uint64(i) + 2, Column: 1, Field: "member", Found: rows[i].Member.String(), Expected: name.Member.String() + ", which the name says"})
		}
	}
	checked.Lines, checked.Proof, v.owed = uint64(len(rows)), ProofContent, rows
	v.net, v.netsIn = make(map[tariff.Member]Sum), checked.Name
	for i := range rows {
		if p := &rows[i]; p.Whole() {
			v.net[p.Member] = v.net[p.Member].add(p.Net())
		}
		if p := &rows[i]; p.Date != name.Date || p.Cycle != name.Cycle {
			v.report.add(checked.Name, FormatError{
				Line: uint64(i) + 2, Column: 1, Field: "business_date",
				Found: fmt.Sprintf("%v, cycle %d", p.Date, p.Cycle), Expected: fmt.Sprintf("%v, cycle %d, which the name says", name.Date, name.Cycle),
			})
		}
	}
	return d.Sum(), nil
}

// blame says of a file that was read what is broken in it.
func (v *verifier) blame(name string, broken ...FormatError) {
	v.report.add(name, broken...)
	if at := slices.IndexFunc(v.report.Files, func(c Checked) bool { return c.Name == name }); at >= 0 {
		v.report.Files[at].Broken += uint64(len(broken))
	}
}

// missing names the files that SHA256SUMS lists and that are not there.
func (v *verifier) missing() {
	for _, o := range v.sums {
		if !slices.ContainsFunc(v.report.Files, func(c Checked) bool { return c.Name == o.Name }) {
			v.report.add(o.Name, FormatError{Line: 1, Column: 1, Field: "file", Found: "no such file", Expected: "a file, since " + SumsName + " lists it"})
		}
	}
}

// run is what all parts of one detail have in common.
type run struct {
	member tariff.Member
	role   Role
	date   points.BusinessDate
	cycle  uint8
}

// parts looks whether every detail has all its parts, of one run.
func (v *verifier) parts() {
	first := make(map[run]*Checked)
	seen := make(map[run]uint64)
	for i := range v.report.Files {
		c := &v.report.Files[i]
		h := c.header
		if h.Parts == 0 {
			continue
		}
		key := run{h.Receiver, h.Role, h.Date, h.Cycle}
		seen[key]++
		f, known := first[key]
		if !known {
			first[key] = c
			continue
		}
		if f.header.Run != h.Run || f.header.Parts != h.Parts {
			v.blame(c.Name, FormatError{
				Line: 1, Column: 65, Field: "run", Found: fmt.Sprintf("%s, %d parts", h.Run, h.Parts),
				Expected: fmt.Sprintf("%s, %d parts, as in %s", f.header.Run, f.header.Parts, f.Name),
			})
		}
	}
	for i := range v.report.Files { // In the order of the names, so that reports are the same.
		c := &v.report.Files[i]
		key := run{c.header.Receiver, c.header.Role, c.header.Date, c.header.Cycle}
		if first[key] == c && seen[key] != uint64(c.header.Parts) {
			v.blame(c.Name, FormatError{Line: 1, Column: 97, Field: "parts", Found: fmt.Sprintf("%d files", seen[key]), Expected: fmt.Sprintf("%d parts", c.header.Parts)})
		}
	}
}

// modes looks whether all detail files are of one mode, which the report has then.
func (v *verifier) modes() {
	first := -1
	for i := range v.report.Files {
		c := &v.report.Files[i]
		switch {
		case c.header.Parts == 0:
		case first < 0:
			first, v.report.Mode = i, c.header.Mode.String()
		case c.header.Mode != v.report.Files[first].header.Mode:
			v.blame(c.Name, FormatError{
				Line: 1, Column: 108, Field: "mode", Found: c.header.Mode.String(), Expected: v.report.Mode + ", as in " + v.report.Files[first].Name,
			})
		}
	}
}

// figures holds the sum of each member's detail against its figure in NET.
func (v *verifier) figures() {
	if v.net == nil {
		return
	}
	sums := make(map[tariff.Member]Sum)
	for _, c := range v.report.Files {
		if c.header.Parts != 0 {
			sums[c.header.Receiver] = sums[c.header.Receiver].add(c.net)
		}
	}
	members := make([]tariff.Member, 0, len(v.net))
	for m := range v.net {
		if _, detailed := sums[m]; detailed {
			members = append(members, m)
		}
	}
	for m := range sums {
		if _, there := v.net[m]; !there {
			members = append(members, m)
		}
	}
	slices.Sort(members)
	for _, m := range members {
		if sums[m] != v.net[m] {
			v.blame(v.netsIn, FormatError{
				Line: 1, Column: 1, Field: "net of " + m.String(), Found: v.net[m].Decimal(v.check.Scale),
				Expected: sums[m].Decimal(v.check.Scale) + ", the sum of the lines in its detail files",
			})
		}
	}
}
