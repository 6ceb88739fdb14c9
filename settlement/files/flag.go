package files

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// flagged is a file that lies beside another one of the set, and is no part of it.
type flagged struct {
	name, of string
	proof    Proof
}

// aside takes the names of files that lie beside those of the set out of names: flags of files
// that were delivered, acknowledgements of the member, and answers to them. What belongs to no
// file of the set stays among names, as a stranger.
func (v *verifier) aside(names []string) (flags []flagged, rest []string) {
	belongs := func(of string) bool {
		if of == SumsName || of == SignatureName {
			return true
		}
		if v.listed {
			return slices.ContainsFunc(v.sums, func(o Output) bool { return o.Name == of })
		}
		return slices.Contains(names, of)
	}
	for _, name := range names {
		f := flagged{name: name, proof: ProofMember}
		flag := false
		if f.of, flag = strings.CutSuffix(name, FlagSuffix); flag {
			f.proof = ProofFlag
		} else {
			f.of = strings.TrimSuffix(name, RefusedSuffix)
			f.of, flag = strings.CutSuffix(f.of, AckSuffix)
		}
		switch {
		case name == SumsName || name == SignatureName:
		case flag && belongs(f.of):
			flags = append(flags, f)
		default:
			rest = append(rest, name)
		}
	}
	return flags, rest
}

// flag reads a file that lies beside one of the set. A flag has to have the digest of its
// file; what the member has put there is its own.
func (v *verifier) flag(f flagged) error {
	text, err := v.small(f.name)
	if errors.Is(err, errNoFile) {
		v.report.add(f.name, FormatError{Line: 1, Column: 1, Field: "file", Found: err.Error(), Expected: "the set's files only"})
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read: %w", err)
	}
	checked := Checked{Name: f.name, Bytes: int64(len(text)), Proof: f.proof}
	if want, known := v.digestOf(f.of); f.proof == ProofFlag && known {
		if flag := AppendFlag(nil, f.of, want); string(text) != string(flag) {
			checked.Broken++
			v.report.add(f.name, FormatError{Line: 1, Column: 1, Field: "sha256", Found: quoted(text), Expected: quoted(flag) + ", the digest of the file that is here"})
		}
	}
	v.report.Files = append(v.report.Files, checked)
	return nil
}

// digestOf is the digest of a file of the folder that was read.
func (v *verifier) digestOf(name string) (digest [32]byte, known bool) {
	if digest, known = v.ours[name]; known {
		return digest, true
	}
	at := slices.IndexFunc(v.report.Files, func(c Checked) bool { return c.Name == name })
	if at < 0 {
		return digest, false
	}
	return v.report.Files[at].digest, true
}
