package delivery

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// Beside the files of a set members see some that lie on no disk and that nobody writes: the
// flags that a set has where it is carried to a member (a set that is fetched appears as a
// whole, so that all of them are there from the first moment on), and why an acknowledgement
// was refused, since OpenSSH's client shows no word of what the server answers.

// maxRefusals is of how many acknowledgements the server remembers why it refused them.
const maxRefusals = 4096

// refusals are why acknowledgements were refused, until a right one follows or the process ends.
type refusals struct {
	mu   sync.Mutex // guards said
	said map[string]refusal
}

type refusal struct {
	text []byte
	at   time.Time
}

func refusedAt(m tariff.Member, name string) string { return m.String() + "/" + name }

func (r *refusals) note(m tariff.Member, name, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.said == nil || len(r.said) >= maxRefusals {
		r.said = make(map[string]refusal)
	}
	r.said[refusedAt(m, name)] = refusal{[]byte(why + "\n"), time.Now()} //nolint:forbidigo // the time of a file, as any disk has it.
}

func (r *refusals) forget(m tariff.Member, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.said, refusedAt(m, name))
}

func (r *refusals) of(m tariff.Member, name string) (refusal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	said, ok := r.said[refusedAt(m, name)]
	return said, ok
}

// virtual is what stands in a file that lies on no disk; ok is false where there is none of the
// name.
func (h *handlers) virtual(name string) (text []byte, info fs.FileInfo, ok bool) {
	if of, refused := strings.CutSuffix(name, files.RefusedSuffix); refused && strings.HasSuffix(of, AckSuffix) {
		said, ok := h.server.refused.of(h.member, of)
		return said.text, seen{path.Base(name), int64(len(said.text)), said.at}, ok
	}
	of, flag := strings.CutSuffix(name, FlagSuffix)
	if !flag {
		return nil, nil, false
	}
	digests, at := h.digests(path.Dir(of))
	digest, ok := digests[path.Base(of)]
	if !ok {
		return nil, nil, false
	}
	text = files.AppendFlag(nil, path.Base(of), digest)
	return text, seen{path.Base(name), int64(len(text)), at}, true
}

// digests are those of the files of the set in a folder, which SHA256SUMS lists, and of the two
// that it cannot list; and when it was made. None: there is no set.
func (h *handlers) digests(folder string) (digests map[string][sha256.Size]byte, at time.Time) {
	file, err := h.root.Open(path.Join(folder, files.SumsName))
	if err != nil {
		return nil, at
	}
	defer func() { _ = file.Close() }() // Only read.
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, at
	}
	d := files.NewDigest(io.Discard)
	sums, broken, err := files.ParseSums(io.TeeReader(file, d))
	if err != nil || len(broken) > 0 {
		return nil, at
	}
	digests = map[string][sha256.Size]byte{files.SumsName: d.Sum()}
	for i := range sums {
		digests[sums[i].Name] = sums[i].Digest
	}
	if signature, err := h.root.ReadFile(path.Join(folder, files.SignatureName)); err == nil {
		digests[files.SignatureName] = sha256.Sum256(signature)
	}
	return digests, info.ModTime()
}

// beside are the files of a folder that lie on no disk.
func (h *handlers) beside(folder string, entries []fs.FileInfo) (infos []fs.FileInfo) {
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = true
	}
	digests, at := h.digests(folder)
	for _, e := range entries {
		if digest, listed := digests[e.Name()]; listed && !there[e.Name()+FlagSuffix] {
			text := files.AppendFlag(nil, e.Name(), digest)
			infos = append(infos, seen{e.Name() + FlagSuffix, int64(len(text)), at})
		}
		name := e.Name() + AckSuffix
		if said, refused := h.server.refused.of(h.member, path.Join(folder, name)); refused {
			infos = append(infos, seen{name + files.RefusedSuffix, int64(len(said.text)), said.at})
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	return infos
}

// seen is a file that lies on no disk, as a listing shows it.
type seen struct {
	name string
	size int64
	at   time.Time
}

// Name returns its name.
func (s seen) Name() string { return s.name }

// Size returns how long it is.
func (s seen) Size() int64 { return s.size }

// Mode says that it can be read.
func (s seen) Mode() fs.FileMode { return 0o400 }

// ModTime returns when it was made.
func (s seen) ModTime() time.Time { return s.at }

// IsDir says that it is no folder.
func (s seen) IsDir() bool { return false }

// Sys returns nothing: there is no file.
func (s seen) Sys() any { return nil }

// text is an open file that lies on no disk.
type text struct {
	*bytes.Reader
	give func()
	once sync.Once
}

// Close gives its place back, once.
func (t *text) Close() error {
	t.once.Do(t.give)
	return nil
}

// refusedFor is what a member is told of its acknowledgement.
func refusedFor(name string, err error) string {
	return fmt.Sprintf("%s is refused: %s", path.Base(name), oneLine(err))
}
