package files

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// File is a kind of file in a member's set that is named by date and member.
type File uint8

// Kinds of files.
const (
	DET File = iota + 1 // detail
	NET                 // net positions
	STM                 // statement, camt.053
	NTF                 // adjustments, camt.054
	EXC                 // exceptions
	PAY                 // the operator's: payments at the bank
	PYI                 // the operator's: pay-ins, pacs.009
	PYO                 // the operator's: pay-outs, pacs.009
)

func fileCodes() []string {
	return []string{"DET", "NET", "STM", "NTF", "EXC", "PAY", "PYI", "PYO"}
}

// Files of a set that have the same name in every one.
const (
	JournalName   = "day.journal"
	StatementName = "statement.html"
	SumsName      = "SHA256SUMS"
	SignatureName = "SHA256SUMS.sig"
)

// What lies beside the files of a set once it is delivered.
const (
	// FlagSuffix is what the name of the flag has that says that a file is complete. It is of
	// one line, as SHA256SUMS has it of the file.
	FlagSuffix = ".ok"
	// AckSuffix is what the name of a member's acknowledgement of a file has.
	AckSuffix = ".ack"
	// RefusedSuffix is what the name of a refusal has, which says why an acknowledgement
	// was not taken.
	RefusedSuffix = ".refused"
)

// AppendFlag writes the flag of a file.
func AppendFlag(dst []byte, name string, digest [32]byte) []byte {
	return fmt.Appendf(dst, "%x  %s\n", digest, name)
}

// String returns the code that names carry.
func (f File) String() string {
	if codes := fileCodes(); f >= 1 && int(f) <= len(codes) {
		return codes[f-1]
	}
	return "?"
}

// Name is what the name of a file says.
type Name struct {
	File   File
	Member tariff.Member
	Role   Role
	Date   points.BusinessDate
	Cycle  uint8
	Part   uint16
	Parts  uint16
	Ext    string // txt, csv or xml
}

// WholeName names a file of a member that is not by role and has one part.
func WholeName(file File, member tariff.Member, date points.BusinessDate, cycle uint8, ext string) Name {
	return Name{File: file, Member: member, Role: RoleMember, Date: date, Cycle: cycle, Part: 1, Parts: 1, Ext: ext}
}

// String renders the name, such as QZ_DET_10000001_A_20260216_01_1of1.txt.
func (n Name) String() string {
	return fmt.Sprintf("QZ_%v_%08d_%v_%08d_%02d_%dof%d.%s", n.File, uint32(n.Member), n.Role, uint32(n.Date), n.Cycle, n.Part, n.Parts, n.Ext)
}

var namePattern = regexp.MustCompile(`^QZ_([A-Z]{3})_([0-9]{8})_([A-Z])_([0-9]{8})_([0-9]{2})_([1-9][0-9]{0,3})of([1-9][0-9]{0,3})\.(txt|csv|xml)$`)

// ParseName reads what String writes. ok is false for any other name.
func ParseName(s string) (n Name, ok bool) {
	m := namePattern.FindStringSubmatch(s)
	if m == nil {
		return Name{}, false
	}
	digits := func(i int) uint64 {
		v, _ := strconv.ParseUint(m[i], 10, 32) // The pattern lets only digits through.
		return v
	}
	n = Name{
		File:   File(slices.Index(fileCodes(), m[1]) + 1), //nolint:gosec // a handful of codes.
		Member: tariff.Member(digits(2)),                  //nolint:gosec // eight digits.
		Role:   Role(slices.Index(roleCodes(), m[3]) + 1), //nolint:gosec // a handful of codes.
		Date:   points.BusinessDate(digits(4)),            //nolint:gosec // eight digits.
		Cycle:  uint8(digits(5)),                          //nolint:gosec // two digits.
		Part:   uint16(digits(6)),                         //nolint:gosec // four digits.
		Parts:  uint16(digits(7)),                         //nolint:gosec // four digits.
		Ext:    m[8],
	}
	return n, n.File != 0 && n.Role != 0 && n.Date.Valid() && n.Cycle > 0 && n.Part <= n.Parts
}
