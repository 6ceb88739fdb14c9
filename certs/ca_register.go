package certs

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"
)

// What happens to certificates and codes: the events of a register.
const (
	eventIssued  = "issued"
	eventRevoked = "revoked"
	eventCode    = "code"
	eventUsed    = "used" // a code
)

// actAtDoor stands for the record of a revocation, which comes after it.
const actAtDoor = "at the door"

// event is one line of the register.
type event struct {
	At       time.Time  `json:"at"`
	Event    string     `json:"event"`
	By       string     `json:"by,omitempty"`
	Act      string     `json:"act,omitempty"` // RRN of the journal record that has decided it, or actAtDoor
	Serial   string     `json:"serial,omitempty"`
	CA       string     `json:"ca,omitempty"` // serial of the issuing CA
	Identity *Identity  `json:"identity,omitempty"`
	Names    []string   `json:"names,omitempty"`
	From     *time.Time `json:"from,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Code     string     `json:"code,omitempty"` // SHA-256 of it
	// Halves are the hashes of the two halves of a code, so that who types one alone is told.
	Halves   []string `json:"halves,omitempty"`
	Lifetime string   `json:"lifetime,omitempty"`
}

// issued is what the register knows of a certificate.
type issued struct {
	serial, ca  string
	identity    Identity
	names       []string
	from, until time.Time
	by          string
	revoked     time.Time // zero: it is not
	reason      string
}

// enrolment is what it knows of a code.
type enrolment struct {
	identity Identity
	names    []string
	until    time.Time
	lifetime time.Duration
	used     bool
}

// half is one of the two that make a code.
type half struct {
	of     *enrolment
	second bool
}

// register is the list of all certificates and codes, as a file of events, a line
// each, that is only ever appended to: whoever issues writes the serial before the
// certificate leaves, so there is none that cannot be revoked. Processes that write
// hold the file's lock; readers need none. A line that is not complete is one whose
// writer died before it told anybody, and is taken off by the next.
type register struct {
	path string

	mu    sync.Mutex // guards what follows
	read  int64      // bytes taken in
	certs map[string]*issued
	order []*issued
	codes map[string]*enrolment
	// halves are those of codes that have two, by their hashes.
	halves map[string]half
	// revoked is read without mu by whoever asked for it: once shared it is copied
	// before it changes.
	revoked map[string]bool
	shared  bool
	lines   uint64
	sum     hash.Hash       // SHA-256 of what was taken in
	acts    map[string]bool // under which something was issued
	seen    RegisterMark    // that the file is known to begin with
}

// maxRegister bounds the file: a million certificates and more.
const maxRegister = 1 << 30

func openRegister(path string) (*register, error) {
	r := &register{path: path, certs: map[string]*issued{}, codes: map[string]*enrolment{}, halves: map[string]half{}, revoked: map[string]bool{}, acts: map[string]bool{}, sum: sha256.New()}
	return r, r.refresh()
}

// refresh takes in what was appended since.
func (r *register) refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	file, err := OpenRegular(r.path, maxRegister)
	if err != nil {
		return fmt.Errorf("certs: register: %w", err)
	}
	return errors.Join(r.take(file), file.Close())
}

// take reads on from where the last one ended. mu is held.
func (r *register) take(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("certs: register: %w", err)
	}
	if info.Size() < r.read {
		// A revocation that is lost would let somebody in.
		return fmt.Errorf("certs: register %s is shorter than it was; put its copy back", r.path)
	}
	text := make([]byte, info.Size()-r.read)
	if _, err := file.ReadAt(text, r.read); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("certs: register: %w", err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for line := range bytes.Lines(text) {
		var e event
		err := json.Unmarshal(line, &e)
		if err == nil {
			err = r.apply(&e)
		}
		if err != nil {
			return fmt.Errorf("certs: register %s, line %d: %w; put its copy back", r.path, r.lines+1, err)
		}
		_, _ = r.sum.Write(line) // Never fails.
		r.read += int64(len(line))
		r.lines++
	}
	return nil
}

// apply takes one event in. mu is held.
func (r *register) apply(e *event) error {
	switch e.Event {
	case eventIssued:
		if e.Serial == "" || e.Identity == nil || e.From == nil || e.Until == nil {
			return errors.New("a certificate without serial, identity or validity")
		}
		if r.certs[e.Serial] != nil {
			return fmt.Errorf("serial %s a second time", e.Serial)
		}
		cert := &issued{serial: e.Serial, ca: e.CA, identity: *e.Identity, names: e.Names, from: *e.From, until: *e.Until, by: e.By}
		r.certs[e.Serial] = cert
		r.order = append(r.order, cert)
		if e.Act != "" && e.Act != actAtDoor {
			r.acts[e.Act] = true
		}
	case eventRevoked:
		cert := r.certs[e.Serial]
		if cert == nil {
			return fmt.Errorf("serial %s is revoked and was never issued", e.Serial)
		}
		cert.revoked, cert.reason = e.At, e.Reason
		if r.shared {
			r.revoked, r.shared = maps.Clone(r.revoked), false
		}
		r.revoked[e.Serial] = true
	case eventCode:
		if e.Code == "" || e.Identity == nil || e.Until == nil {
			return errors.New("a code without hash, identity or end")
		}
		lifetime, err := time.ParseDuration(e.Lifetime)
		if err != nil {
			return fmt.Errorf("a code whose certificate lives %q", e.Lifetime)
		}
		code := &enrolment{identity: *e.Identity, names: e.Names, until: *e.Until, lifetime: lifetime}
		r.codes[e.Code] = code
		for i, hash := range e.Halves {
			r.halves[hash] = half{of: code, second: i > 0}
		}
	case eventUsed:
		code := r.codes[e.Code]
		if code == nil {
			return errors.New("a code is used that was never made")
		}
		code.used = true
	default:
		return fmt.Errorf("event %q is not known", e.Event)
	}
	return nil
}

// write lets decide say, with the register as it is now and nobody else writing, what
// to append, and appends it durably, all or nothing.
func (r *register) write(decide func() ([]event, error)) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	file, err := os.OpenFile(r.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("certs: register: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }() // Which unlocks it too.
	if err := lockFile(file); err != nil {
		return fmt.Errorf("certs: lock the register: %w", err)
	}
	if err := r.take(file); err != nil {
		return err
	}
	events, err := decide()
	if err != nil || len(events) == 0 {
		return err
	}
	var text []byte
	for i := range events {
		line, err := json.Marshal(&events[i])
		if err != nil {
			return fmt.Errorf("certs: register: %w", err)
		}
		text = append(append(text, line...), '\n')
	}
	// Behind what is complete; half a line of a writer that died goes.
	err = file.Truncate(r.read)
	if err == nil {
		_, err = file.WriteAt(text, r.read)
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		// Some lines may have got there: a part of them must not be taken for all.
		return fmt.Errorf("certs: register: %w", errors.Join(err, file.Truncate(r.read)))
	}
	return r.take(file)
}

// revocations is the set of serials that are revoked. It is not to be changed.
func (r *register) revocations() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shared = true
	return r.revoked
}

// all lists the certificates in the order of issue.
func (r *register) all() []issued {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]issued, 0, len(r.order))
	for _, cert := range r.order {
		list = append(list, *cert)
	}
	return slices.Clip(list)
}
