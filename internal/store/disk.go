package store

import (
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Disk is a disk in memory that loses power when it is told to, and can keep a write
// of the store's log from becoming durable: for simulations.
type Disk struct {
	memory *vfs.MemFS
	// cloning keeps a power cut out of ReuseForWrite: MemFS locks for reading within a
	// lock for reading there, and a cut that waits between the two waits for ever.
	cloning sync.RWMutex

	mu      sync.Mutex // guards what follows
	held    chan struct{}
	let     chan struct{} // nil: syncs are not held
	reached bool
}

// NewDisk makes an empty disk.
func NewDisk() *Disk { return &Disk{memory: vfs.NewCrashableMem()} }

// On returns the options of a store in dir on the disk.
func (d *Disk) On(dir string) Options {
	fs := errorfs.Wrap(reusable{d.memory, &d.cloning}, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if strings.HasSuffix(op.Path, ".log") {
				d.wait()
			}
		default:
		}
		return nil
	}))
	return Options{Dir: dir, FS: fs, BlockCacheMB: 1}
}

// Hold makes every sync of the log wait until Release. The channel is closed when
// the first one waits: its data are written, and not durable.
func (d *Disk) Hold() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held, d.let, d.reached = make(chan struct{}), make(chan struct{}), false
	return d.held
}

// Release lets the syncs go that Hold keeps back.
func (d *Disk) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.let != nil {
		close(d.let)
		d.let = nil
	}
}

func (d *Disk) wait() {
	d.mu.Lock()
	let := d.let
	if let != nil && !d.reached {
		d.reached = true
		close(d.held)
	}
	d.mu.Unlock()
	if let != nil {
		<-let
	}
}

// PowerCut returns the disk as it is found after a power cut at this moment. What was
// not synced is gone, or, if kept says so, is there as far as it was written.
func (d *Disk) PowerCut(kept bool) *Disk {
	d.cloning.Lock()
	defer d.cloning.Unlock()
	config := vfs.CrashCloneCfg{}
	if kept { // MemFS draws chance for each piece of data; with 100 % it comes out the same.
		config = vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))} //nolint:gosec // nothing depends on it.
	}
	return &Disk{memory: d.memory.CrashClone(config)}
}

// reusable is MemFS with its one unsafe call fenced, see Disk.cloning.
type reusable struct {
	*vfs.MemFS
	cloning *sync.RWMutex
}

// ReuseForWrite implements vfs.FS.
func (r reusable) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	r.cloning.RLock()
	defer r.cloning.RUnlock()
	return r.MemFS.ReuseForWrite(oldname, newname, category)
}
