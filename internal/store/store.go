package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// Prefix is the first byte of a key: whose it is.
type Prefix byte

// Prefixes; see the package comment.
const (
	Index      Prefix = 'i'
	Journal    Prefix = 'j'
	KeyCheck   Prefix = 'k'
	State      Prefix = 's'
	Checkpoint Prefix = 't'
	created    Prefix = 'z'
)

// ExitStoreFault is the status with which the process ends when the store can no
// longer write.
const ExitStoreFault = 70

// Errors of Open.
var (
	// ErrNotFound says that there is no store in the folder.
	ErrNotFound = errors.New("store: no store here")
	// ErrExists says that there is one already.
	ErrExists = errors.New("store: there is a store here already")
	// ErrCorrupt says that a file of the store is damaged.
	ErrCorrupt = errors.New("store: a file of the store is damaged; keep the files and restore from a backup")
	// ErrInUse says that another process has it open.
	ErrInUse = errors.New("store: another process has this store open")
)

// Options of a store.
type Options struct {
	Dir          string
	FS           vfs.FS // nil: the machine's file system
	BlockCacheMB int    // MiB of memory for blocks read back; 0: 64
	ReadOnly     bool
	// Volatile opens a copy of the store in memory: nothing that is written
	// reaches the disk, or is there at the next opening. For measurements.
	Volatile   bool
	Log        *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
	// Exit ends the process after a fatal error and must not return; nil: os.Exit.
	Exit func(code int)
}

// Store is an open store. It is safe for concurrent use.
type Store struct {
	db     *pebble.DB
	tables sstable.WriterOptions // of the tables that are ingested
	fs     vfs.FS
	dir    string
	opts   Options

	ingests atomic.Uint64 // begun, to give each its own file
	written *written
}

// Create makes a new, empty store in opts.Dir, and closes it again. The first
// key is written, flushed and read back before anybody relies on the store:
// until a store has its first table, a rotten byte in its log can make Pebble
// open it empty without an error.
func Create(opts Options) (err error) {
	opts = opts.complete()
	exists, err := opts.exists()
	if err != nil {
		return err
	}
	if exists {
		return fmt.Errorf("%w: %s", ErrExists, opts.Dir)
	}
	if err := opts.FS.MkdirAll(opts.Dir, 0o700); err != nil {
		return fmt.Errorf("store: make %s: %w", opts.Dir, err)
	}
	if err := syncDir(opts.FS, filepath.Dir(opts.Dir)); err != nil {
		return err
	}
	if err := writeAnchor(opts, Mark{}); err != nil {
		return err
	}
	// Pebble's files come last and under another name: what a crash leaves half
	// made is not taken for a store.
	path := opts.dbDir() + ".new"
	if err := opts.FS.RemoveAll(path); err != nil {
		return fmt.Errorf("store: clear %s: %w", path, err)
	}
	db, err := pebble.Open(path, opts.pebble(new(written)))
	if err != nil {
		return fmt.Errorf("store: create in %s: %w", opts.Dir, err)
	}
	if err := errors.Join(db.Set([]byte{byte(created)}, []byte{1}, pebble.Sync), db.Flush(), db.Close()); err != nil {
		return fmt.Errorf("store: write the first key in %s: %w", opts.Dir, err)
	}
	if err := opts.FS.Rename(path, opts.dbDir()); err != nil {
		return fmt.Errorf("store: put the new store in place: %w", err)
	}
	return syncDir(opts.FS, opts.Dir)
}

// Open opens the store that [Create] made.
func Open(opts Options) (*Store, error) {
	opts = opts.complete()
	exists, err := opts.exists()
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, opts.Dir)
	}
	if opts.Volatile {
		memory := vfs.NewMem()
		if _, err := vfs.Clone(opts.FS, memory, opts.Dir, opts.Dir); err != nil {
			return nil, fmt.Errorf("store: copy %s into memory: %w", opts.Dir, err)
		}
		opts.FS = memory
	}
	counts := new(written)
	options := opts.pebble(counts)
	db, err := pebble.Open(opts.dbDir(), options)
	if errors.Is(err, syscall.EAGAIN) { // Its lock file is held.
		return nil, fmt.Errorf("%w: %s", ErrInUse, opts.Dir)
	}
	// What the operating system has not refused is in the files themselves.
	if _, refused := errors.AsType[syscall.Errno](err); err != nil && !refused {
		return nil, fmt.Errorf("%w: open %s: %w", ErrCorrupt, opts.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", opts.Dir, err)
	}
	s := &Store{db: db, tables: options.MakeWriterOptions(0, db.TableFormat()), fs: opts.FS, dir: opts.Dir, opts: opts, written: counts}
	if _, ok, err := s.Get(nil, created, nil); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("%w: %s has lost its first key", ErrCorrupt, opts.Dir), err, db.Close())
	}
	if !opts.ReadOnly {
		if err := s.sweep(); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(collector{db, counts}); err != nil {
			return nil, errors.Join(fmt.Errorf("store: register metrics: %w", err), db.Close())
		}
	}
	return s, nil
}

func (o Options) complete() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.BlockCacheMB == 0 {
		o.BlockCacheMB = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Exit == nil {
		o.Exit = os.Exit //nolint:forbidigo // the one place where a store that cannot write ends the process.
	}
	return o
}

func (o Options) dbDir() string { return filepath.Join(o.Dir, "db") }

func (o Options) exists() (bool, error) {
	_, err := o.FS.Stat(o.dbDir())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("store: look into %s: %w", o.Dir, err)
	}
}

const mib = 1 << 20

// bitsPerKey of the tables' Bloom filters: an account that is read back is found
// in one table, and the later checkpoints that do not have it cost no read.
const bitsPerKey = 10

// tableSize is about how large the store's tables are, in bytes. A table has one
// filter, which is read whole: those of large tables would push each other out of
// the block cache, and each read of an account would read a megabyte.
const tableSize = 4 * mib

// pebble returns the options of a store that is written in sequence (the
// journal) and by ingest (the state): large memtables, few compactions.
func (o Options) pebble(written *written) *pebble.Options {
	bridge := logger{log: o.Log, exit: o.Exit}
	opts := &pebble.Options{
		FS:                          o.FS,
		CacheSize:                   int64(o.BlockCacheMB) * mib,
		ReadOnly:                    o.ReadOnly,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                32 * mib,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       32,
		BytesPerSync:                mib,
		WALBytesPerSync:             mib,
		Logger:                      bridge,
		EventListener:               bridge.events(written),
	}
	if o.ReadOnly {
		opts.ErrorIfNotExists = true
	}
	for level := range opts.Levels {
		opts.Levels[level].FilterPolicy = bloom.FilterPolicy(bitsPerKey)
		opts.TargetFileSizes[level] = tableSize
	}
	opts.EnsureDefaults()
	if o.FS == vfs.Default {
		opts.WithFSDefaults() // Watches for slow calls; without it nobody hears of a slow disk.
	}
	return opts
}

// key puts prefix in front.
func key(prefix Prefix, rest []byte) []byte {
	return append([]byte{byte(prefix)}, rest...)
}

// asDamage marks what Pebble says of a file whose bytes are not those that were
// written.
func asDamage(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// Get appends the value of a key to dst; ok is false when there is none.
func (s *Store) Get(dst []byte, prefix Prefix, rest []byte) (value []byte, ok bool, err error) {
	found, closer, err := s.db.Get(key(prefix, rest))
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, fmt.Errorf("store: get %c%x: %w", prefix, rest, asDamage(err))
	}
	value = append(dst, found...)
	if err := closer.Close(); err != nil {
		return dst, false, fmt.Errorf("store: get %c%x: %w", prefix, rest, asDamage(err))
	}
	return value, true, nil
}

// AtOrBefore appends the value of the greatest key at or before rest under prefix,
// and returns the key without its prefix; ok is false when there is none.
func (s *Store) AtOrBefore(dst []byte, prefix Prefix, rest []byte) (found, value []byte, ok bool, err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: key(prefix, nil), UpperBound: append(key(prefix, rest), 0)})
	if err != nil {
		return nil, dst, false, fmt.Errorf("store: seek %c%x: %w", prefix, rest, asDamage(err))
	}
	value = dst
	if iter.Last() {
		found = append(found, iter.Key()[1:]...)
		value = append(dst, iter.Value()...)
		ok = true
	}
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return nil, dst, false, fmt.Errorf("store: seek %c%x: %w", prefix, rest, asDamage(err))
	}
	return found, value, ok, nil
}

// Scan calls visit with every key under prefix from start on, ascending, without
// the prefix, as they were when it began; key and value are valid during the
// call only. It stops when visit returns false or an error, or ctx ends.
func (s *Store) Scan(ctx context.Context, prefix Prefix, start []byte, visit func(rest, value []byte) (more bool, err error)) error {
	return s.scan(ctx, prefix, start, (*pebble.Iterator).First, visit)
}

// ScanFrom is Scan that begins at the greatest key at or before start; where there is
// none, at the first of all.
func (s *Store) ScanFrom(ctx context.Context, prefix Prefix, start []byte, visit func(rest, value []byte) (more bool, err error)) error {
	begin := func(iter *pebble.Iterator) bool { return iter.SeekLT(append(key(prefix, start), 0)) || iter.First() }
	return s.scan(ctx, prefix, nil, begin, visit)
}

// scan visits the keys from lowest on, and of these from where begin puts the iterator.
func (s *Store) scan(ctx context.Context, prefix Prefix, lowest []byte, begin func(*pebble.Iterator) bool, visit func(rest, value []byte) (more bool, err error)) (err error) {
	iter, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: key(prefix, lowest), UpperBound: key(prefix+1, nil)})
	if err != nil {
		return fmt.Errorf("store: scan %c%x: %w", prefix, lowest, asDamage(err))
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for valid := begin(iter); valid; valid = iter.Next() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("store: scan %c: %w", prefix, asDamage(err))
		}
		value, err := iter.ValueAndErr()
		if err != nil {
			return fmt.Errorf("store: scan %c%x: %w", prefix, iter.Key()[1:], asDamage(err))
		}
		more, err := visit(iter.Key()[1:], value)
		if err != nil || !more {
			return err
		}
	}
	if err := iter.Error(); err != nil {
		return fmt.Errorf("store: scan %c: %w", prefix, asDamage(err))
	}
	return nil
}

// Pick calls visit with those of keys, which ascend, that are there under prefix, as they
// were when it began; key, without the prefix, and value are valid during the call only. It is for many keys that lie close together: it reads each block once.
func (s *Store) Pick(ctx context.Context, prefix Prefix, keys iter.Seq[[]byte], visit func(rest, value []byte) error) (err error) {
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: key(prefix, nil), UpperBound: key(prefix+1, nil)})
	if err != nil {
		return fmt.Errorf("store: read keys of %c: %w", prefix, asDamage(err))
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var sought []byte
	for rest := range keys {
		sought = append(append(sought[:0], byte(prefix)), rest...)
		if !it.SeekGE(sought) {
			break
		}
		if !bytes.Equal(it.Key(), sought) {
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("store: read %c%x: %w", prefix, rest, asDamage(err))
		}
		if err := visit(rest, value); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("store: read keys of %c: %w", prefix, asDamage(err))
	}
	return nil
}

// Batch is one atomic write on its way to the disk.
type Batch struct {
	batch *pebble.Batch
}

// Start hands one key and value over to be written: it can be read at once, and
// survives a crash once [Batch.Wait] has returned nil. Batches become durable in
// the order of their Starts. A log that cannot be written ends the process
// (Options.Exit).
func (s *Store) Start(prefix Prefix, rest, value []byte) (*Batch, error) {
	// Pebble panics when its log takes no more writes, and leaves its locks held.
	defer func() {
		if cause := recover(); cause != nil {
			logger{log: s.opts.Log, exit: s.opts.Exit}.Fatalf("write %c%x: %v", prefix, rest, cause)
		}
	}()
	batch := s.db.NewBatchWithSize(len(value) + len(rest) + 64)
	if err := batch.Set(key(prefix, rest), value, nil); err != nil {
		return nil, fmt.Errorf("store: write %c%x: %w", prefix, rest, err)
	}
	if err := s.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return nil, fmt.Errorf("store: write %c%x: %w", prefix, rest, err)
	}
	return &Batch{batch}, nil
}

// Wait returns when the batch is on disk, or the error that kept it from there.
// It is called once.
func (b *Batch) Wait() error {
	if err := b.batch.SyncWait(); err != nil {
		return fmt.Errorf("store: sync: %w", err)
	}
	if err := b.batch.Close(); err != nil {
		return fmt.Errorf("store: close batch: %w", err)
	}
	return nil
}

// Pair is a key with its prefix in front and its value; an empty value deletes the key.
type Pair struct {
	Key, Value []byte
}

// Ingest puts pairs, ascending by key without repetition, into the store: all of
// them at once, durably, without passing the log. Each run gets tables of its own:
// what lies far apart is better not in one, for a table takes part in every
// compaction between its first and its last key. It may take long. Several may go on
// at a time.
func (s *Store) Ingest(ctx context.Context, runs ...[]Pair) error {
	var paths []string
	count := 0
	for _, rest := range runs {
		count += len(rest)
		for len(rest) > 0 {
			path := filepath.Join(s.opts.dbDir(), fmt.Sprintf("%s%d%s", ingestBegin, s.ingests.Add(1), ingestEnd))
			paths = append(paths, path)
			n := fitting(rest)
			if err := s.writeTable(path, rest[:n]); err != nil {
				return errors.Join(err, s.discard(paths))
			}
			rest = rest[n:]
		}
	}
	if len(paths) == 0 {
		return nil
	}
	if err := s.db.Ingest(ctx, paths); err != nil {
		return fmt.Errorf("store: ingest %d keys: %w", count, err)
	}
	return nil
}

// fitting is how many of pairs fill a table; at least one.
func fitting(pairs []Pair) (count int) {
	size := 0
	for ; count < len(pairs) && size < tableSize; count++ {
		size += len(pairs[count].Key) + len(pairs[count].Value)
	}
	return count
}

// discard removes tables that will not be ingested.
func (s *Store) discard(paths []string) (err error) {
	for _, path := range paths {
		err = errors.Join(err, s.fs.Remove(path))
	}
	return err
}

// The names of tables on their way into the store.
const (
	ingestBegin = "ingest-"
	ingestEnd   = ".tmp"
)

// sweep removes the tables that a crash has left on their way. Pebble does not
// know them.
func (s *Store) sweep() error {
	names, err := s.fs.List(s.opts.dbDir())
	if err != nil {
		return fmt.Errorf("store: list %s: %w", s.opts.dbDir(), err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, ingestBegin) && strings.HasSuffix(name, ingestEnd) {
			if err := s.fs.Remove(filepath.Join(s.opts.dbDir(), name)); err != nil {
				return fmt.Errorf("store: remove what a crash has left: %w", err)
			}
		}
	}
	return nil
}

func (s *Store) writeTable(path string, pairs []Pair) (err error) {
	file, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("store: create a table: %w", err)
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(file), s.tables)
	for _, pair := range pairs {
		if len(pair.Value) == 0 {
			err = w.Delete(pair.Key)
		} else {
			err = w.Set(pair.Key, pair.Value)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("store: write a table: %w", err), w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("store: finish a table: %w", err)
	}
	made, err := w.Metadata()
	if err != nil {
		return fmt.Errorf("store: finish a table: %w", err)
	}
	s.written.add(byIngest, pairs[0].Key, pairs[len(pairs)-1].Key, made.Size)
	return nil
}

// Backup writes a copy of the store, with everything started so far, into the
// new folder dir on the same file system; unchanged files are shared, not copied.
func (s *Store) Backup(dir string) error {
	if err := s.fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: make %s: %w", dir, err)
	}
	if err := s.db.Checkpoint(Options{Dir: dir}.dbDir(), pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("store: back up to %s: %w", dir, err)
	}
	return nil
}

// Close closes the store. Whatever was started and not waited for may be lost.
func (s *Store) Close() error {
	if s.opts.Registerer != nil {
		s.opts.Registerer.Unregister(collector{s.db, s.written})
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("store: close %s: %w", s.dir, err)
	}
	return nil
}
