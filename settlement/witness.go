package settlement

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"
)

// witness remembers how the file system described each file of a run when this process had
// written it. It stands in for reading a file once more: its digest was taken of the bytes
// that were written, and what is described in the same way has not been written to since,
// for the change time of a file is the kernel's, and nobody can set it.
//
// It says nothing of what another process wrote, nor of what was lost in a power cut, nor of
// a disk that gives back other bytes than it got: whoever delivers or gets a file proves its
// digest. It belongs to the process that wrote, and is never written down.
type witness struct {
	mu    sync.Mutex
	marks map[string]mark // by name, as the manifest has it
}

// mark is how a file was described. Of two that are equal the file is one, and unchanged.
type mark struct {
	device, inode uint64
	size          int64
	changed       time.Duration // since 1970, by the kernel's clock
}

// tick is more than kernels have between two change times that differ. Who writes to a
// file within a tick of our own last write may not show in its change time.
const tick = 100 * time.Millisecond

func newWitness() *witness { return &witness{marks: map[string]mark{}} }

// create makes a new file below a folder, and takes its mark when it is closed.
func (w *witness) create(folder, sub, name string) (io.WriteCloser, error) {
	file, err := os.OpenFile(filepath.Join(folder, sub, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the path.
	}
	return &witnessed{file, w, path.Join(sub, name)}, nil
}

// witnessed is a file that is being written.
type witnessed struct {
	*os.File
	witness *witness
	name    string
}

// Close closes the file and notes how it was left.
func (f *witnessed) Close() error {
	info, err := f.Stat()
	if err := errors.Join(err, f.File.Close()); err != nil {
		return err
	}
	if m, ok := markOf(info); ok {
		f.witness.mu.Lock()
		defer f.witness.mu.Unlock()
		f.witness.marks[f.name] = m
	}
	return nil
}

// knows reports whether a file is as this process has left it, for certain: a file that was
// written within a tick of the manifest, the last of all, may have been touched unnoticed.
func (w *witness) knows(name string, info fs.FileInfo) bool {
	if w == nil {
		return false
	}
	was, written := w.marks[name]
	last, all := w.marks[ManifestName]
	is, ok := markOf(info)
	return written && all && ok && is == was && was.changed+tick < last.changed
}
