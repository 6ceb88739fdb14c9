package app

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/lianfen/lianfen/certs"
)

// The night's files are what settlement and reconciliation have left beside the journal:
// notes, file sets and delivery slips of runs, and what came of comparisons. Most can be
// made again, but that members were given them, and what came back, stands here only.
//
// A copy takes the notes of runs first, then their folders, and the journal last. So it is
// what a kill might have left: a note may be older than its run's folder or posting, never
// younger, and a run goes on from that.

// reconName is the folder of what came of comparisons.
const reconName = "recon"

// nightFile is one of them. Its name is below the folder of the store, with slashes.
type nightFile struct {
	name  string
	path  string
	fixed bool // published: it does not change any more
}

// nightFiles visits the night's files of the store that is served. No comparison begins or
// ends while those are read.
func (a *App) nightFiles(visit func(nightFile) error) error {
	if err := runFiles(a.opts.Config.Data, visit); err != nil {
		return err
	}
	a.reconciling.Lock()
	defer a.reconciling.Unlock()
	return below(a.opts.Config.Data, reconName, false, visit)
}

// nightFilesAt is nightFiles of a store that nobody serves.
func nightFilesAt(data string, visit func(nightFile) error) error {
	if err := runFiles(data, visit); err != nil {
		return err
	}
	return below(data, reconName, false, visit)
}

// runFiles visits the notes of settlement runs, then what was published and delivered of
// these. Work that is not published is left out: a start throws it away.
func runFiles(data string, visit func(nightFile) error) error {
	entries, err := os.ReadDir(filepath.Join(data, SettlementFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("settlement runs: %w", err)
	}
	var runs []string
	for _, e := range entries {
		run, note := strings.CutSuffix(e.Name(), ".json")
		if !note || !e.Type().IsRegular() {
			continue
		}
		runs = append(runs, run)
		name := path.Join(filepath.ToSlash(SettlementFolder), e.Name())
		if err := visit(nightFile{name: name, path: filepath.Join(data, filepath.FromSlash(name))}); err != nil {
			return err
		}
	}
	for _, run := range runs {
		folder := path.Join(filepath.ToSlash(SettlementFolder), run)
		if err := errors.Join(below(data, folder, true, visit), below(data, folder+".delivery", false, visit)); err != nil {
			return err
		}
	}
	return nil
}

// below visits the files in a folder, where there is one, but for those that are not whole.
func below(data, folder string, fixed bool, visit func(nightFile) error) error {
	root := filepath.Join(data, filepath.FromSlash(folder))
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return filepath.WalkDir(root, func(at string, entry fs.DirEntry, err error) error { //nolint:wrapcheck // it names the path.
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasSuffix(name, unfinished):
			return fs.SkipDir
		case !entry.Type().IsRegular() || strings.HasSuffix(name, ".new"):
			return nil
		}
		name, err := filepath.Rel(data, at)
		if err != nil {
			return err //nolint:wrapcheck // as above.
		}
		return visit(nightFile{name: filepath.ToSlash(name), path: at, fixed: fixed})
	})
}

// open opens the file with the size that it has now; it may grow.
func (f nightFile) open() (*os.File, int64, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, 0, fmt.Errorf("night's files: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("night's files: %w", err), file.Close())
	}
	return file, info.Size(), nil
}

// copyTo copies the file to its name below the folder data, durably; where links may be
// made, of what does not change any more it makes another name.
func (f nightFile) copyTo(data string, links bool) (err error) {
	to := filepath.Join(data, filepath.FromSlash(f.name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("night's files: %w", err)
	}
	if links && f.fixed && os.Link(f.path, to) == nil {
		return nil
	}
	from, size, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	return writeNightFile(to, from, size)
}

func writeNightFile(to string, from io.Reader, size int64) error {
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("night's files: %w", err)
	}
	_, err = io.CopyN(file, from, size)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("night's files: %s: %w", to, err)
	}
	return nil
}

// copyNight copies the night's files that visit gives into data, and counts them.
func copyNight(ctx context.Context, all func(func(nightFile) error) error, data string, links bool) (files uint64, err error) {
	err = all(func(f nightFile) error {
		files++
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return f.copyTo(data, links)
	})
	return files, err
}

// The night's files in a stream, for encrypted backups, before the journal:
//
//	magic   "LFN1"
//	files   each: length of its name, 2 bytes; the name; its size, 8 bytes; its bytes
//	end     2 zero bytes
//
// All numbers are big-endian. A backup without them begins with its journal.
const (
	nightMagic   = "LFN1"
	maxNightName = 512
)

// writeNight writes the night's files to w.
func (a *App) writeNight(ctx context.Context, w io.Writer) error {
	if _, err := io.WriteString(w, nightMagic); err != nil {
		return fmt.Errorf("night's files: %w", err)
	}
	err := a.nightFiles(func(f nightFile) (err error) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		file, size, err := f.open()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if len(f.name) > maxNightName {
			return fmt.Errorf("night's files: the name %q is longer than %d bytes", f.name, maxNightName)
		}
		head := append(binary.BigEndian.AppendUint16(nil, uint16(len(f.name))), f.name...) //nolint:gosec // bounded.
		head = binary.BigEndian.AppendUint64(head, uint64(size))                           //nolint:gosec // of a file.
		if _, err := w.Write(head); err != nil {
			return fmt.Errorf("night's files: %w", err)
		}
		if _, err := io.CopyN(w, file, size); err != nil {
			return fmt.Errorf("night's files: %s: %w", f.name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte{0, 0}); err != nil {
		return fmt.Errorf("night's files: %w", err)
	}
	return nil
}

// readNight reads the night's files at the beginning of r, counts them, and returns a
// reader of the journal behind them. put takes each; nil: they are passed over. Whoever
// knows a recipient can make a backup, so that a name may be anything: one that is not of
// the night's files is refused.
func readNight(ctx context.Context, r io.Reader, put func(name string, from io.Reader, size int64) error) (journal io.Reader, files uint64, err error) {
	magic := make([]byte, len(nightMagic))
	n, err := io.ReadFull(r, magic)
	if string(magic[:n]) != nightMagic {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil // The journal's reader says what is missing.
		}
		return io.MultiReader(strings.NewReader(string(magic[:n])), r), 0, err
	}
	for {
		name, size, err := nightHead(r)
		if err != nil || name == "" {
			return r, files, err
		}
		if err := context.Cause(ctx); err != nil {
			return nil, files, err
		}
		files++
		if put == nil {
			_, err = io.CopyN(io.Discard, r, size)
		} else {
			err = put(name, r, size)
		}
		if err != nil {
			return nil, files, damagedNight(err)
		}
	}
}

// nightHead reads what stands before a file's bytes; no name is the end.
func nightHead(r io.Reader) (name string, size int64, err error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return "", 0, damagedNight(err)
	}
	n := binary.BigEndian.Uint16(length[:])
	if n == 0 {
		return "", 0, nil
	}
	head := make([]byte, int(n)+8) //nolint:mnd // the size.
	if n > maxNightName {
		return "", 0, fmt.Errorf("%w: a name of %d bytes among the night's files", certs.ErrBackupDamaged, n)
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return "", 0, damagedNight(err)
	}
	name, size = string(head[:n]), int64(binary.BigEndian.Uint64(head[n:])) //nolint:gosec // checked below.
	runs := strings.HasPrefix(name, filepath.ToSlash(SettlementFolder)+"/")
	if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name || (!runs && !strings.HasPrefix(name, reconName+"/")) || size < 0 {
		return "", 0, fmt.Errorf("%w: %q of %d bytes is not one of the night's files", certs.ErrBackupDamaged, name, size)
	}
	return name, size, nil
}

// damagedNight makes the end of a stream that should have gone on damage.
func damagedNight(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it breaks off in the night's files", certs.ErrBackupDamaged)
	}
	return err
}

// putNight puts a file of a backup below the folder data, out of which no name leads.
func putNight(data string) func(name string, from io.Reader, size int64) error {
	return func(name string, from io.Reader, size int64) error {
		to := filepath.Join(data, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("night's files: %w", err)
		}
		return writeNightFile(to, from, size)
	}
}
