package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/lianfen/lianfen/points"
)

// Faults of a keystore.
var (
	// ErrKeystoreDamaged says that a file is not what was written.
	ErrKeystoreDamaged = errors.New("keystore: the file is damaged; put a copy of it back")
	// ErrKeystoreVersion says that a newer program wrote a file.
	ErrKeystoreVersion = errors.New("keystore: written by a newer lianfen; use that one")
	// ErrOtherKEK says that a file is sealed under another key-encryption key.
	ErrOtherKEK = errors.New("keystore: sealed under another key-encryption key")
	// ErrOlderKeystore says that an older file was put in the place of a newer one.
	ErrOlderKeystore = errors.New("keystore: an older file than the one written last")
	// ErrNoKey says that a keystore has no key of that name and version.
	ErrNoKey = errors.New("keystore: no such key")
)

// MaxKeyName is the length of the longest name of a key.
const MaxKeyName = 64

// Keystore holds the keys of one file. Reading from it takes no lock and no file:
// what it returns was opened when the file was read. Any number of goroutines may use
// it; another process may change the file, and [Keystore.Reload] reads that.
type Keystore struct {
	path   string
	kek    KEK
	random io.Reader
	update sync.Mutex // held by Update and Reload, which replace keys
	keys   atomic.Pointer[keyring]
}

// keyring is what one generation of a file holds. It does not change.
type keyring struct {
	generation uint64
	keys       map[string][]*Key // by name, versions ascending
	pending    map[string]*Key   // by name: what waits for a second person, and serves nothing
}

// Mark tells one content of a keystore from every other.
type Mark struct {
	Generation uint64
	// Digest is of all that is in force or was, and not of what is pending, nor of what
	// partners and the switch send each other under a master key that they share: no
	// operator decides on that, and the master key is in the digest.
	Digest [16]byte
	// Exchanged is of what partners and the switch have sent each other, alone.
	Exchanged [16]byte
}

func (r *keyring) mark() Mark {
	decided, exchanged := sha256.New(), sha256.New()
	var text []byte
	for key := range r.all() {
		if key.State == KeyPending {
			continue
		}
		fingerprint := key.Fingerprint()
		text = append(appendKeyInfo(text[:0], &key.KeyInfo), fingerprint[:]...)
		if r.exchanged(key) {
			exchanged.Write(text) // Never fails.
		} else {
			decided.Write(text) // Nor does this.
		}
	}
	m := Mark{Generation: r.generation}
	copy(m.Digest[:], decided.Sum(nil))
	copy(m.Exchanged[:], exchanged.Sum(nil))
	return m
}

// exchanged reports whether a key is one that a partner and the switch send each other.
func (r *keyring) exchanged(key *Key) bool {
	rest, mac := strings.CutPrefix(key.Name, "zak/")
	rest, pin := strings.CutPrefix(rest, "zpk/")
	of := (mac && !pin && key.Usage == ZoneMAC) || (pin && !mac && key.Usage == ZonePIN)
	return of && len(r.keys["zmk/"+rest]) > 0
}

// CreateKeystore makes an empty keystore in a new file, sealed under kek. It never
// overwrites one.
func CreateKeystore(path string, kek KEK, random io.Reader) (*Keystore, error) {
	s := &Keystore{path: path, kek: kek, random: random}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, there := range []string{path, s.generationPath()} {
		if _, err := os.Lstat(there); err == nil {
			return nil, fmt.Errorf("keystore: create %s: %w", there, fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("keystore: %w", err)
		}
	}
	if err := s.write(&keyring{generation: 1}); err != nil {
		return nil, err
	}
	return s, nil
}

// OpenKeystore reads a keystore whole. The error wraps [ErrKeystoreDamaged],
// [ErrKeystoreVersion], [ErrOtherKEK] or [ErrOlderKeystore] where that is what is wrong.
func OpenKeystore(path string, kek KEK, random io.Reader) (*Keystore, error) {
	s := &Keystore{path: path, kek: kek, random: random}
	ring, err := s.read()
	if err != nil {
		return nil, err
	}
	s.keys.Store(ring)
	return s, nil
}

// Reload reads the file again if another process has changed it, and reports whether
// it had. What accept refuses changes nothing. Keys that were handed out stay what they
// are.
func (s *Keystore) Reload(accept func(Mark) error) (changed bool, err error) {
	s.update.Lock()
	defer s.update.Unlock()
	ring, err := s.newest()
	if err != nil || ring == s.keys.Load() {
		return false, err
	}
	if err := accept(ring.mark()); err != nil {
		return false, err
	}
	s.keys.Store(ring)
	return true, nil
}

// newest is what the file holds now: what is in memory, where nobody has changed it.
func (s *Keystore) newest() (*keyring, error) {
	is := s.keys.Load()
	if generation, err := s.readGeneration(); err == nil && generation == is.generation {
		return is, nil
	}
	ring, err := s.read()
	switch {
	case err != nil:
		return nil, err
	case ring.generation < is.generation:
		return nil, s.older(ring.generation, is.generation)
	case ring.generation == is.generation:
		return is, nil
	}
	return ring, nil
}

// Mark tells what is in memory from every other content.
func (s *Keystore) Mark() Mark { return s.keys.Load().mark() }

// Path is the file.
func (s *Keystore) Path() string { return s.path }

// Generation counts the writes of the file. It only grows.
func (s *Keystore) Generation() uint64 { return s.keys.Load().generation }

// KEK tells which key-encryption key the file is sealed under.
func (s *Keystore) KEK() string { return s.kek.Name() }

// Len is the number of keys, each version counted.
func (s *Keystore) Len() int { return s.keys.Load().len() }

func (r *keyring) len() (n int) {
	for _, versions := range r.keys {
		n += len(versions)
	}
	return n + len(r.pending)
}

// All returns every version of every key, by name and version.
func (s *Keystore) All() iter.Seq[*Key] {
	return s.keys.Load().all()
}

func (r *keyring) all() iter.Seq[*Key] {
	return func(yield func(*Key) bool) {
		names := slices.Concat(slices.Collect(maps.Keys(r.keys)), slices.Collect(maps.Keys(r.pending)))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			for _, key := range r.keys[name] {
				if !yield(key) {
					return
				}
			}
			if key := r.pending[name]; key != nil && !yield(key) {
				return
			}
		}
	}
}

// pendingError is an [ErrNoKey] that names a key which is there and not yet to be used: whoever was
// told that there is none would make it again.
type pendingError struct{ name string }

// Error says what has to come first.
func (e pendingError) Error() string {
	return fmt.Sprintf("keystore: key %q is pending: a second person has to compare its KCV and approve it first (lianfen admin pending)", e.name)
}

// Is reports that no such key can be used.
func (e pendingError) Is(target error) bool { return target == ErrNoKey }

// Key returns one version of a key, in whatever state; version 0 is the newest.
func (s *Keystore) Key(name string, version uint32) (*Key, error) {
	return s.keys.Load().key(name, version)
}

func (r *keyring) key(name string, version uint32) (*Key, error) {
	versions := r.keys[name]
	waits := r.pending[name]
	switch {
	case waits != nil && (version == waits.Version || len(versions) == 0):
		return nil, pendingError{name}
	case len(versions) == 0:
		return nil, fmt.Errorf("%w: %q", ErrNoKey, name)
	}
	if version == 0 {
		return versions[len(versions)-1], nil
	}
	for _, key := range versions {
		if key.Version == version {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: version %d of %q; it has %d to %d", ErrNoKey, version, name, versions[0].Version, versions[len(versions)-1].Version)
}

// Use returns the version of a key that is to be used at now: the newest one that is
// in force. The key must be for usage.
func (s *Keystore) Use(name string, usage Usage, now points.Timestamp) (*Key, error) {
	return s.keys.Load().use(name, usage, now)
}

func (r *keyring) use(name string, usage Usage, now points.Timestamp) (*Key, error) {
	versions := r.keys[name]
	switch {
	case len(versions) == 0 && r.pending[name] != nil:
		return nil, pendingError{name}
	case len(versions) == 0:
		return nil, fmt.Errorf("%w: %q", ErrNoKey, name)
	}
	var why error
	for _, key := range slices.Backward(versions) {
		if key.Usage != usage {
			return nil, fmt.Errorf("%w: %v is for %v, not for %v", ErrKeyUse, key, key.Usage, usage)
		}
		err := key.InForce(now, false)
		if err == nil {
			return key, nil
		}
		if why == nil {
			why = err
		}
	}
	return nil, why
}

// TerminalMasterName is what the master key of a terminal is called.
func TerminalMasterName(merchant points.MerchantID, terminal points.TerminalID) string {
	return "tmk/" + strings.TrimSpace(string(merchant[:])) + "/" + strings.TrimSpace(string(terminal[:]))
}

// Signer returns the private key of a CA. It signs within this process.
func (k *Key) Signer() (crypto.Signer, error) {
	plain, err := k.open(CASigning)
	if err != nil {
		return nil, err
	}
	signer, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), plain)
	if err != nil {
		return nil, fmt.Errorf("%v: not a private key on the curve P-256", k) // Without its cause, which might quote it.
	}
	return signer, nil
}

// Changes is a keystore while it is changed. Nothing of it is seen before all of it is
// written.
type Changes struct {
	ring   *keyring
	was    Mark
	random io.Reader
	staged bool // what is made waits for a second person
}

// Stage lets the keys that are made wait for a second person, who has them confirmed
// ([Changes.Confirm]). One that waited under the same name is dropped.
func (c *Changes) Stage() { c.staged = true }

// Was is the mark of what the file held before the changes.
func (c *Changes) Was() Mark { return c.was }

// Mark is that of what it will hold with the changes so far.
func (c *Changes) Mark() Mark { return c.ring.mark() }

// Pending is the key that waits under a name.
func (c *Changes) Pending(name string) (*Key, error) { return c.ring.waiting(name) }

// Pending is the key that waits for a second person under a name.
func (s *Keystore) Pending(name string) (*Key, error) { return s.keys.Load().waiting(name) }

func (r *keyring) waiting(name string) (*Key, error) {
	if key := r.pending[name]; key != nil {
		return key, nil
	}
	return nil, fmt.Errorf("%w: nothing is pending under %q", ErrNoKey, name)
}

// Confirm puts a key that waits in force: from when it was to be, but not before now, so
// that what was used meanwhile was in force.
func (c *Changes) Confirm(name string, now points.Timestamp) (*Key, error) {
	key, err := c.Pending(name)
	if err != nil {
		return nil, err
	}
	confirmed := *key
	confirmed.State, confirmed.From = KeyActive, max(key.From, now)
	if len(c.ring.keys[name]) > 0 {
		next, err := c.succeed(name, confirmed.From)
		if err != nil {
			return nil, err
		}
		if next.Version != key.Version {
			return nil, fmt.Errorf("keystore: %v waits as version %d, and the next one is %d by now; make it anew", key, key.Version, next.Version)
		}
	}
	if confirmed.Until != 0 && confirmed.Until <= confirmed.From {
		return nil, fmt.Errorf("keystore: %v would have been in force until %v, which is over", key, key.Until)
	}
	c.Drop(name)
	c.put(&confirmed)
	return &confirmed, nil
}

// Drop forgets a key that waits, if one does.
func (c *Changes) Drop(name string) {
	c.ring.pending = maps.Clone(c.ring.pending)
	delete(c.ring.pending, name)
}

// Update changes the keys by change and writes the file in whole before anyone sees
// the change; if change or the writing fails, nothing has changed. Processes wait for
// each other.
func (s *Keystore) Update(change func(*Changes) error) error {
	s.update.Lock()
	defer s.update.Unlock()
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	old, err := s.newest()
	if err != nil {
		return err
	}
	c := &Changes{ring: &keyring{generation: old.generation + 1, keys: maps.Clone(old.keys), pending: old.pending}, was: old.mark(), random: s.random}
	if c.ring.keys == nil {
		c.ring.keys = map[string][]*Key{}
	}
	if err := change(c); err != nil {
		return err
	}
	return s.write(c.ring)
}

// Key is [Keystore.Key] with the changes so far.
func (c *Changes) Key(name string, version uint32) (*Key, error) { return c.ring.key(name, version) }

// All is [Keystore.All] with the changes so far.
func (c *Changes) All() iter.Seq[*Key] { return c.ring.all() }

// NewKey is what there is to say of a key that is to be made.
type NewKey struct {
	Name      string
	Usage     Usage
	Algorithm Algorithm
	From      points.Timestamp
	Until     points.Timestamp // 0 is for ever
}

// Generate draws a new key, the first of its name.
func (c *Changes) Generate(want NewKey) (*Key, error) {
	if err := c.free(want); err != nil {
		return nil, err
	}
	return c.draw(want.info(1))
}

// Import takes a key from outside, from [Components] or a key block, the first of its
// name.
func (c *Changes) Import(want NewKey, from *Imported) (*Key, error) {
	if err := c.free(want); err != nil {
		return nil, err
	}
	return c.add(want.info(1), from)
}

func (n NewKey) info(version uint32) KeyInfo {
	return KeyInfo{Name: n.Name, Version: version, Usage: n.Usage, Algorithm: n.Algorithm, State: KeyActive, From: n.From, Until: n.Until}
}

// CheckKeyName refuses what no key can be called.
func CheckKeyName(name string) error {
	if name == "" || len(name) > MaxKeyName {
		return fmt.Errorf("the name of a key has 1 to %d characters, not %d", MaxKeyName, len(name))
	}
	for _, r := range []byte(name) {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("the name %q: a key's name has printable ASCII without spaces", name)
		}
	}
	return nil
}

// free checks that a key may be called what want says.
func (c *Changes) free(want NewKey) error {
	if err := CheckKeyName(want.Name); err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	if want.Algorithm == DES {
		return errors.New("keystore: single DES is for the working keys of a session only; use 3des-2key or AES")
	}
	if want.Until != 0 && want.Until <= want.From {
		return fmt.Errorf("keystore: %s would be in force until %v, before %v from when on it is", want.Name, want.Until, want.From)
	}
	if len(c.ring.keys[want.Name]) > 0 {
		return fmt.Errorf("keystore: there is a key %s; rotate it, or choose another name", want.Name)
	}
	return nil
}

// draw adds a key drawn at random.
func (c *Changes) draw(info KeyInfo) (*Key, error) {
	plain := make([]byte, info.Algorithm.size())
	defer wipe(plain)
	for range 100 {
		if _, err := io.ReadFull(c.random, plain); err != nil {
			return nil, fmt.Errorf("keystore: draw %s: %w", info.Name, err)
		}
		if info.Algorithm.des() {
			oddParity(plain)
		}
		key, err := newKey(info, plain)
		if err != nil && info.Algorithm == ECDSAP256 && info.Usage.allows(ECDSAP256) {
			continue // Beyond the curve's order: one in 2^32.
		}
		if err != nil {
			return nil, err
		}
		c.put(key)
		return key, nil
	}
	return nil, fmt.Errorf("keystore: draw %s: what is drawn is not random", info.Name)
}

// oddParity sets the lowest bit of each byte so that the number of its bits is odd.
func oddParity(plain []byte) {
	for i, b := range plain {
		plain[i] = b&^1 | byte(bits.OnesCount8(b&^1)+1)&1 //nolint:gosec // a bit.
	}
}

func (c *Changes) add(info KeyInfo, from *Imported) (*Key, error) {
	info.Bound = from.bound
	if from.usage != 0 && from.usage != info.Usage && (!from.loose || looseUsage(from.usage) != looseUsage(info.Usage)) {
		return nil, fmt.Errorf("keystore: %s: the block holds a key for %v, not for %v", info.Name, from.usage, info.Usage)
	}
	if from.algorithm != info.Algorithm {
		return nil, fmt.Errorf("keystore: %s: what is imported is of %v, not of %v", info.Name, from.algorithm, info.Algorithm)
	}
	key, err := newKey(info, from.secret())
	if err != nil {
		return nil, err
	}
	c.put(key)
	return key, nil
}

// put adds the newest version of a key, or lets it wait.
func (c *Changes) put(key *Key) {
	if c.staged {
		key.State = KeyPending
		c.ring.pending = maps.Clone(c.ring.pending)
		if c.ring.pending == nil {
			c.ring.pending = map[string]*Key{}
		}
		c.ring.pending[key.Name] = key
		return
	}
	c.Drop(key.Name) // Its version is taken now.
	c.ring.keys[key.Name] = append(slices.Clone(c.ring.keys[key.Name]), key)
}

// Rotate draws the next version of a key, in force from a time on; the versions before
// are in force until then, and check and open afterwards.
func (c *Changes) Rotate(name string, from points.Timestamp) (*Key, error) {
	info, err := c.succeed(name, from)
	if err != nil {
		return nil, err
	}
	return c.draw(info)
}

// Replace is [Changes.Rotate] to a key from outside.
func (c *Changes) Replace(name string, with *Imported, from points.Timestamp) (*Key, error) {
	info, err := c.succeed(name, from)
	if err != nil {
		return nil, err
	}
	return c.add(info, with)
}

// succeed ends the versions of a key at from and returns what the next is.
func (c *Changes) succeed(name string, from points.Timestamp) (KeyInfo, error) {
	last, err := c.Key(name, 0)
	if err != nil {
		return KeyInfo{}, err
	}
	if last.State == KeyActive && last.OnOffer() {
		return KeyInfo{}, fmt.Errorf("keystore: %v is on offer; let the terminal take it, or retire it first", last)
	}
	if last.State == KeyActive && last.From >= from {
		return KeyInfo{}, fmt.Errorf("keystore: %v is in force from %v on; a next version begins later than that", last, last.From)
	}
	versions := slices.Clone(c.ring.keys[name])
	for i, key := range versions {
		if !c.staged && from != onOffer && key.State == KeyActive && (key.Until == 0 || key.Until > from) {
			ended := *key
			ended.Until = from
			versions[i] = &ended
		}
	}
	c.ring.keys[name] = versions
	info := last.KeyInfo
	info.Version++
	info.State, info.From, info.Until, info.Bound = KeyActive, from, 0, false
	return info, nil
}

// Retire ends one version of a key: it opens and checks, and makes nothing new.
// Version 0 is the newest.
func (c *Changes) Retire(name string, version uint32) (*Key, error) {
	return c.end(name, version, KeyRetired)
}

// Destroy forgets one version of a key for good; name and check value are kept.
func (c *Changes) Destroy(name string, version uint32) (*Key, error) {
	return c.end(name, version, KeyDestroyed)
}

func (c *Changes) end(name string, version uint32, state KeyState) (*Key, error) {
	key, err := c.Key(name, version)
	if err != nil {
		return nil, err
	}
	if key.State >= state {
		return nil, fmt.Errorf("keystore: %v is %v already", key, key.State)
	}
	ended := *key
	ended.State = state
	if state == KeyDestroyed {
		ended.secret = nil
	}
	versions := slices.Clone(c.ring.keys[name])
	versions[slices.Index(versions, key)] = &ended
	c.ring.keys[name] = versions
	return &ended, nil
}

// lock keeps other processes from changing the file. A lock goes with its process.
func (s *Keystore) lock() (unlock func(), err error) {
	f, err := os.OpenFile(s.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keystore: lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("keystore: lock: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // Nothing was written to it.
}

// maxKeystoreBytes bounds a file: more than a million keys.
const maxKeystoreBytes = 256 << 20

// read reads and opens the file.
func (s *Keystore) read() (*keyring, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	if info.Mode().IsRegular() && info.Size() > maxKeystoreBytes {
		return nil, fmt.Errorf("%w (%s): %d bytes, more than %d", ErrKeystoreDamaged, s.path, info.Size(), maxKeystoreBytes)
	}
	file, err := ReadRegular(s.path, maxKeystoreBytes)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	ring, err := openRing(file, s.kek)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, s.path)
	}
	written, err := s.readGeneration()
	if err != nil {
		return nil, err
	}
	if ring.generation < written {
		return nil, s.older(ring.generation, written)
	}
	return ring, nil
}

func (s *Keystore) older(generation, written uint64) error {
	return fmt.Errorf("%w: %s is of generation %d, generation %d was written; put the newer one back, or, to accept that keys are missing, remove %s",
		ErrOlderKeystore, s.path, generation, written, s.generationPath())
}

// generationPath is the file that says which generation was written last, so that an
// older file is not taken for it. It is no secret and no proof against whoever
// writes both: the ledger remembers the generation too.
func (s *Keystore) generationPath() string { return s.path + ".generation" }

// readGeneration returns the generation that was written last; 0 if that is unknown.
func (s *Keystore) readGeneration() (uint64, error) {
	text, err := ReadRegular(s.generationPath(), MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("keystore: %w", err)
	}
	generation, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("keystore: %s holds no number; if %s is the newest, remove it", s.generationPath(), s.path)
	}
	return generation, nil
}

// write makes ring what the file holds, then what is read. The file is replaced in
// one step; after a power cut it is the old one or the new one.
func (s *Keystore) write(ring *keyring) error {
	file, err := sealRing(ring, s.kek, s.random)
	if err != nil {
		return err
	}
	if len(file) > maxKeystoreBytes {
		return fmt.Errorf("keystore: %d keys take %d bytes, more than %d", ring.len(), len(file), maxKeystoreBytes)
	}
	if err := replaceFile(s.path, file); err != nil {
		return fmt.Errorf("keystore: write: %w", err)
	}
	s.keys.Store(ring)
	// The file is written and counts. A generation that lags behind refuses nothing.
	if err := replaceFile(s.generationPath(), fmt.Appendln(nil, ring.generation)); err != nil {
		return fmt.Errorf("keystore: the keys are written, but not their generation: %w", err)
	}
	return nil
}

// replaceFile writes a file beside path, whole and on disk, and puts it in its place.
func replaceFile(path string, content []byte) (err error) {
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
