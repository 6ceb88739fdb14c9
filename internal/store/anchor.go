package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Mark is what an anchor holds fast: how far the journal was acknowledged, and
// the hash of its chain there.
type Mark struct {
	Position uint64
	Hash     [32]byte
}

// Anchor is a small file outside the store's log. The log's end cannot be told
// from a torn write, so damage there loses acknowledged commits in silence; the
// anchor remembers how far the journal has to reach.
//
// It has two slots of 64 bytes in sectors of their own, written in turn: a torn
// write spoils one, the other stands.
//
//	0   magic "LFA1"
//	4   turn, big-endian
//	12  position
//	20  hash of the chain
//	52  zeros
//	60  CRC-32C of the 60 bytes before
type Anchor struct {
	mu   sync.Mutex
	file vfs.File
	turn uint64
	mark Mark
}

// ErrNoAnchor says that the anchor file is missing or neither slot can be read.
var ErrNoAnchor = errors.New("store: the anchor is missing or damaged")

const (
	anchorName   = "anchor"
	anchorMagic  = "LFA1"
	slotSize     = 64
	slotDistance = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeAnchor makes a new anchor file at mark, whole or not at all: an old one
// stands until the new one is on disk.
func writeAnchor(opts Options, mark Mark) error {
	path := filepath.Join(opts.Dir, anchorName)
	file, err := opts.FS.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("store: create the anchor: %w", err)
	}
	content := make([]byte, 2*slotDistance)
	copy(content, encodeSlot(1, mark))
	_, writeErr := file.Write(content)
	if err := errors.Join(writeErr, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("store: write the anchor: %w", err)
	}
	if err := opts.FS.Rename(path+".new", path); err != nil {
		return fmt.Errorf("store: put the anchor in place: %w", err)
	}
	return syncDir(opts.FS, opts.Dir)
}

// syncDir makes the entries of a folder durable.
func syncDir(fs vfs.FS, path string) error {
	dir, err := fs.OpenDir(path)
	if err != nil {
		return fmt.Errorf("store: open %s: %w", path, err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("store: sync %s: %w", path, err)
	}
	return nil
}

// Anchor opens the anchor of the store. A missing or unreadable one is
// [ErrNoAnchor]. That of a store that is open read-only cannot be set.
func (s *Store) Anchor() (*Anchor, error) {
	path := filepath.Join(s.dir, anchorName)
	open := func() (vfs.File, error) { return s.fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified) }
	if s.opts.ReadOnly {
		open = func() (vfs.File, error) { return s.fs.Open(path) }
	}
	file, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoAnchor, path)
	}
	if err != nil {
		return nil, fmt.Errorf("store: open the anchor: %w", err)
	}
	a := &Anchor{file: file}
	for slot := range 2 {
		buf := make([]byte, slotSize)
		if _, err := file.ReadAt(buf, int64(slot)*slotDistance); err != nil && !errors.Is(err, io.EOF) {
			return nil, errors.Join(fmt.Errorf("store: read the anchor: %w", err), file.Close())
		}
		if turn, mark, ok := decodeSlot(buf); ok && turn > a.turn {
			a.turn, a.mark = turn, mark
		}
	}
	if a.turn == 0 {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrNoAnchor, path), file.Close())
	}
	return a, nil
}

// ResetAnchor writes a new anchor at mark, in place of one that is missing,
// damaged or of another journal. It gives up the protection that the old one
// gave: only a restore, or an operator who has read the runbook, does this.
func (s *Store) ResetAnchor(mark Mark) error {
	return writeAnchor(s.opts, mark)
}

// Mark returns what was set last.
func (a *Anchor) Mark() Mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mark
}

// Set writes mark and waits until it is on disk.
func (a *Anchor) Set(mark Mark) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	turn := a.turn + 1
	if _, err := a.file.WriteAt(encodeSlot(turn, mark), int64((turn-1)%2)*slotDistance); err != nil {
		return fmt.Errorf("store: write the anchor: %w", err)
	}
	if err := a.file.SyncData(); err != nil {
		return fmt.Errorf("store: sync the anchor: %w", err)
	}
	a.turn, a.mark = turn, mark
	return nil
}

// Close closes the file.
func (a *Anchor) Close() error {
	if err := a.file.Close(); err != nil {
		return fmt.Errorf("store: close the anchor: %w", err)
	}
	return nil
}

func encodeSlot(turn uint64, mark Mark) []byte {
	buf := make([]byte, 0, slotSize)
	buf = append(buf, anchorMagic...)
	buf = binary.BigEndian.AppendUint64(buf, turn)
	buf = binary.BigEndian.AppendUint64(buf, mark.Position)
	buf = append(buf, mark.Hash[:]...)
	buf = append(buf, make([]byte, slotSize-4-len(buf))...)
	return binary.BigEndian.AppendUint32(buf, crc32.Checksum(buf, castagnoli))
}

func decodeSlot(buf []byte) (turn uint64, mark Mark, ok bool) {
	if string(buf[:4]) != anchorMagic || crc32.Checksum(buf[:slotSize-4], castagnoli) != binary.BigEndian.Uint32(buf[slotSize-4:]) {
		return 0, Mark{}, false
	}
	mark.Position = binary.BigEndian.Uint64(buf[12:])
	copy(mark.Hash[:], buf[20:])
	return binary.BigEndian.Uint64(buf[4:]), mark, true
}
