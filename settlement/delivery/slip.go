package delivery

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// State is how far a member's set is.
type State uint8

// States, in their order. A set never goes back.
const (
	Published State = iota + 1 // it lies here
	Delivered                  // the member has it
	Acked                      // the member has taken it in, and has booked what was sent
)

func stateNames() []string { return []string{"PUBLISHED", "DELIVERED", "ACKED"} }

// String renders the name.
func (s State) String() string {
	if names := stateNames(); s >= 1 && int(s) <= len(names) {
		return names[s-1]
	}
	return "?"
}

// MarshalText renders the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *State) UnmarshalText(text []byte) error {
	i := slices.Index(stateNames(), string(text))
	if i < 0 {
		return points.Errorf(points.FormatError, "state of a delivery %q: want one of %s", text, strings.Join(stateNames(), ", "))
	}
	*s = State(i + 1) //nolint:gosec // three of them.
	return nil
}

// Set is a published run as deliveries see it.
type Set struct {
	Run       string
	Date      points.BusinessDate
	Cycle     uint8
	Folder    string // of the published files, with a folder for each member
	Manifest  string // digest of its manifest, as it was approved
	Published points.Timestamp
	Confirmed bool
}

// folder is what a member's folder of the cycle is called, at its place and at ours.
func (s *Set) folder() string { return fmt.Sprintf("%08d-%02d", uint32(s.Date), s.Cycle) }

// Sent is a file of a set: what was published, and what became of it.
type Sent struct {
	Name   string `json:"name"`
	Digest string `json:"sha256"`
	// Want is what its acknowledgement has to say; empty: none is waited for.
	Want string `json:"want,omitempty"`
	// Carried is the digest of what the member has got of it; empty: nothing.
	Carried string `json:"carried,omitempty"`
	Acked   bool   `json:"acked,omitempty"`
	// Wrong is in what its acknowledgement differs from what was sent.
	Wrong string `json:"wrong,omitempty"`
}

// Slip is what is known of the delivery of one member's set.
type Slip struct {
	Run       string           `json:"run"`
	Member    tariff.Member    `json:"member"`
	State     State            `json:"state"`
	Ready     bool             `json:"ready,omitempty"` // it can be fetched
	Published points.Timestamp `json:"published"`
	Delivered points.Timestamp `json:"delivered,omitempty"`
	Acked     points.Timestamp `json:"acked,omitempty"`
	By        string           `json:"by,omitempty"` // who has recorded a delivery by hand
	Attempts  int              `json:"attempts,omitempty"`
	Problem   string           `json:"problem,omitempty"` // the last one, of what is still to be done
	Files     []Sent           `json:"files"`
}

// file finds a file of the set.
func (s *Slip) file(name string) *Sent {
	for i := range s.Files {
		if s.Files[i].Name == name {
			return &s.Files[i]
		}
	}
	return nil
}

// wrong names what the member's acknowledgements differ in.
func (s *Slip) wrong() (all []string) {
	for i := range s.Files {
		if f := &s.Files[i]; f.Wrong != "" {
			all = append(all, f.Name+": "+f.Wrong)
		}
	}
	return all
}

// carried reports whether the member has got all that it has to have got.
func (s *Slip) carried(must func(*Sent) bool) bool {
	for i := range s.Files {
		if f := &s.Files[i]; must(f) && f.Carried == "" {
			return false
		}
	}
	return true
}

// answered reports whether the set is acknowledged: as a whole, by its sums, or detail
// file by detail file. It is asked when an acknowledgement has come.
func (s *Slip) answered() bool {
	open := 0
	for i := range s.Files {
		f := &s.Files[i]
		if f.Name == files.SumsName && f.Acked {
			return true
		}
		if f.Name != files.SumsName && f.Want != "" && !f.Acked {
			open++
		}
	}
	return open == 0
}

// acknowledge takes an acknowledgement in. The error says in what it differs.
func (s *Slip) acknowledge(name string, ack Ack, at points.Timestamp) error {
	f := s.file(name)
	if f == nil || f.Want == "" {
		return fmt.Errorf("%s is not to be acknowledged; detail files are, or %s for all", name, files.SumsName)
	}
	want, err := ParseAck(strings.NewReader(f.Want))
	if err != nil {
		return err
	}
	if differs := ack.Differs(want); differs != nil {
		f.Wrong = oneLine(differs)
		return differs
	}
	f.Acked, f.Wrong = true, ""
	if s.answered() && s.State < Acked {
		s.State, s.Acked, s.Problem = Acked, at, ""
		if s.Delivered == 0 {
			s.Delivered = at // Who has taken it in has it.
		}
	}
	return nil
}

// oneLine is an error in one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// newSlips reads who gets what of a published set. It trusts nothing but the digest of the
// manifest, which was approved.
func newSlips(set *Set) ([]*Slip, error) {
	lists, err := readManifest(set)
	if err != nil {
		return nil, err
	}
	var slips []*Slip
	for _, m := range slices.Sorted(maps.Keys(lists)) {
		s := &Slip{Run: set.Run, Member: m, State: Published, Published: set.Published}
		if s.Files, err = wanted(filepath.Join(set.Folder, m.String()), lists[m]); err != nil {
			return nil, fmt.Errorf("deliver run %s to %v: %w", set.Run, m, err)
		}
		slips = append(slips, s)
	}
	return slips, nil
}

// manifestName is what package settlement calls the list of all files of a run.
const manifestName = "MANIFEST"

func readManifest(set *Set) (map[tariff.Member][]files.Output, error) {
	path := filepath.Join(set.Folder, manifestName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("deliver run %s: %w", set.Run, err)
	}
	if digest := sha256.Sum256(text); hex.EncodeToString(digest[:]) != set.Manifest {
		return nil, fmt.Errorf("deliver run %s: %s is not the one that was approved", set.Run, path)
	}
	lists := make(map[tariff.Member][]files.Output)
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
		digest, rest, _ := strings.Cut(scanner.Text(), "  ")
		folder, name, _ := strings.Cut(rest, "/")
		m, isMember := memberOf(folder)
		if !isMember {
			continue // The operator's own.
		}
		o := files.Output{Name: name}
		if n, err := hex.Decode(o.Digest[:], []byte(digest)); err != nil || n != len(o.Digest) || name == "" {
			return nil, fmt.Errorf("deliver run %s: %s: %q is no line of it", set.Run, path, scanner.Text())
		}
		lists[m] = append(lists[m], o)
	}
	return lists, nil
}

// memberOf reads the name of a member's folder.
func memberOf(folder string) (m tariff.Member, ok bool) {
	if len(folder) != 8 || strings.Trim(folder, "0123456789") != "" {
		return 0, false
	}
	for _, c := range folder {
		m = m*10 + tariff.Member(c-'0') //nolint:gosec // a digit.
	}
	return m, m.Institution()
}

// wanted lists a set as it goes: details first, the sums and what signs them last, so that
// they are there only when all else is. What acknowledgements have to say comes from the
// trailers.
func wanted(folder string, outputs []files.Output) ([]Sent, error) {
	total := files.Output{Name: files.SumsName}
	var sent []Sent
	for i := range outputs {
		o := &outputs[i]
		f := Sent{Name: o.Name, Digest: hex.EncodeToString(o.Digest[:])}
		if name, known := files.ParseName(o.Name); known && name.File == files.DET && name.Ext == "txt" {
			trailer, err := trailerOf(filepath.Join(folder, o.Name))
			if err != nil {
				return nil, err
			}
			o.Lines, o.Net = trailer.Lines, trailer.Net
			total.Lines, total.Net = total.Lines+o.Lines, total.Net.Add(o.Net)
			f.Want = AckOf(o).String()
		}
		if o.Name == files.SumsName {
			total.Digest = o.Digest
		}
		sent = append(sent, f)
	}
	last := func(f Sent) int {
		if f.Name == files.SumsName || f.Name == files.SignatureName {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(sent, func(a, b Sent) int { return last(a) - last(b) })
	for i := range sent {
		if sent[i].Name == files.SumsName {
			sent[i].Want = AckOf(&total).String()
			return sent, nil
		}
	}
	return nil, fmt.Errorf("there is no %s in the set", files.SumsName)
}

func trailerOf(path string) (t files.Trailer, err error) {
	file, err := os.Open(path)
	if err != nil {
		return t, err //nolint:wrapcheck // it names the path.
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return t, err //nolint:wrapcheck // as above.
	}
	if t, err = files.ReadTrailer(file, info.Size()); err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// slips keeps slips in the folder of the runs, one file a member: RUN.delivery/MEMBER.json.
type slips struct{ folder string }

func (s slips) of(run string) string { return filepath.Join(s.folder, run+".delivery") }

// load reads the slips of a run, by member.
func (s slips) load(run string) (map[tariff.Member]*Slip, error) {
	all := make(map[tariff.Member]*Slip)
	entries, err := os.ReadDir(s.of(run))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("deliveries of run %s: %w", run, err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(s.of(run), e.Name()))
		if err != nil {
			return nil, fmt.Errorf("deliveries of run %s: %w", run, err)
		}
		slip := new(Slip)
		if err := json.Unmarshal(text, slip); err != nil || slip.State < Published || slip.Run != run {
			return nil, fmt.Errorf("deliveries of run %s: %s is not what was written there (%w); if it is lost, remove it: what the member has is compared, not sent again", run, e.Name(), err)
		}
		for i := range slip.Files { // A name becomes a part of paths, and a backup may say anything.
			if name := slip.Files[i].Name; name == "." || !filepath.IsLocal(name) || filepath.Base(name) != name {
				return nil, fmt.Errorf("deliveries of run %s: %s names %q, which is no name of a file in a set", run, e.Name(), name)
			}
		}
		all[slip.Member] = slip
	}
	return all, nil
}

// save writes a slip down: what is there afterwards is the old or the new, whole.
func (s slips) save(slip *Slip) error {
	text, err := json.MarshalIndent(slip, "", "  ")
	if err != nil {
		return fmt.Errorf("delivery of run %s to %v: %w", slip.Run, slip.Member, err)
	}
	folder := s.of(slip.Run)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("delivery of run %s to %v: %w", slip.Run, slip.Member, err)
	}
	path := filepath.Join(folder, slip.Member.String()+".json")
	if err := write(path+".new", append(text, '\n')); err != nil {
		return fmt.Errorf("delivery of run %s to %v: %w", slip.Run, slip.Member, err)
	}
	if err := errors.Join(os.Rename(path+".new", path), syncFolder(folder)); err != nil {
		return fmt.Errorf("delivery of run %s to %v: %w", slip.Run, slip.Member, err)
	}
	return nil
}

func write(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it is.
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // it names the path.
	}
	return errors.Join(folder.Sync(), folder.Close())
}
