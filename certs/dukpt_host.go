package certs

import (
	"container/list"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/bits"
	"sync"
)

// DUKPTHost derives the keys of messages for the side that has the base keys. Of the
// terminals that sent last it keeps the keys on the way to the last message (X9.24-3
// 6.3.1: one for each one of the counter, from the highest on). The next counter shares
// all of them but those of its trailing ones, so that it costs one derivation where from
// the base key on it costs one for each one.
//
//	counter  101111   keys of 1, 101, 1011, 10111, 101111
//	next     110000   key  of 1; derived: 11
//
// It is bounded: the terminal that has sent for longest gives way. What is forgotten is
// wiped. Only what has turned out authentic is kept ([DUKPTMessage.Keep]), so that numbers
// that somebody makes up cost their own derivation and nobody else's. Any number of
// goroutines may use it.
type DUKPTHost struct {
	most int

	mu        sync.Mutex // guards what follows
	terminals map[[8]byte]*list.Element
	order     list.List // of *dukptWay; the one that sent last in front
}

// dukptWay is how far a terminal has come, and the keys on the way there.
type dukptWay struct {
	base     *Key // what the keys follow from
	terminal [8]byte
	counter  uint32
	keys     hidden[*dukptKeys]
}

// dukptKeys are the initial key of a terminal, then a key for each one of its counter.
type dukptKeys [maxCounterBits + 1][maxDerived]byte

// maxDerived is the length of the longest derived key.
const maxDerived = 32

func newWay() *dukptWay { return &dukptWay{keys: hide(new(dukptKeys))} }

func (w *dukptWay) set(to *dukptWay) {
	*w.keys() = *to.keys()
	w.base, w.terminal, w.counter = to.base, to.terminal, to.counter
}

func (w *dukptWay) wipe() {
	*w.keys() = dukptKeys{}
	w.base, w.counter = nil, 0
}

// NewDUKPTHost makes one that keeps the keys of most terminals.
func NewDUKPTHost(most int) (*DUKPTHost, error) {
	if most <= 0 {
		return nil, fmt.Errorf("derived keys of %d terminals: want 1 or more to be kept", most)
	}
	return &DUKPTHost{most: most, terminals: make(map[[8]byte]*list.Element)}, nil
}

// Len is of how many terminals keys are kept.
func (h *DUKPTHost) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.terminals)
}

// DUKPTMessage is what the keys of one message are derived in. It is used again for
// another: what stood in it is gone then. One goroutine at a time uses it.
type DUKPTMessage struct {
	host    *DUKPTHost
	way     *dukptWay
	ksn     KSN
	text    [maxDerived]byte // of a key on its way, wiped at once
	request *MAC             // whose keys change with each message
	answer  *MAC
}

// String is the number of the keys; they are not printed.
func (m *DUKPTMessage) String() string { return "derived keys " + m.ksn.String() }

// Format writes [DUKPTMessage.String] for every verb.
func (m *DUKPTMessage) Format(state fmt.State, _ rune) { _, _ = fmt.Fprint(state, m.String()) }

// MarshalText is [DUKPTMessage.String].
func (m *DUKPTMessage) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// LogValue is [DUKPTMessage.String].
func (m *DUKPTMessage) LogValue() slog.Value { return slog.StringValue(m.String()) }

// Derive makes ready in m the keys of the message with a serial number, from the base key
// that the number names.
func (h *DUKPTHost) Derive(m *DUKPTMessage, base *Key, ksn KSN) error {
	if err := ksn.check(); err != nil {
		return err
	}
	plain, err := base.open(DUKPTBase)
	if err != nil {
		return err
	}
	if m.host != h {
		m.host, m.way, m.request, m.answer = h, newWay(), newDerivedMAC(), newDerivedMAC()
	}
	m.ksn = ksn
	reached := h.begin(m, base)
	if reached < 0 {
		if err := m.derive(base.Algorithm, plain, dukptInitial, ksn.Terminal(), &m.way.keys()[0]); err != nil {
			return err
		}
		reached = 0
	}
	if err := m.walk(base.Algorithm, reached); err != nil {
		return err
	}
	m.way.base, m.way.terminal, m.way.counter = base, ksn.Terminal(), ksn.Counter()
	current, _ := m.current(base.Algorithm)
	block, err := newBlock(base.Algorithm, current)
	if err != nil {
		return fmt.Errorf("derive: %w", err)
	}
	if err := m.ready(block, base.Algorithm, DUKPTRequestMAC, m.request); err != nil {
		return err
	}
	return m.ready(block, base.Algorithm, DUKPTAnswerMAC, m.answer)
}

// begin copies what is kept of the terminal into m, as far as it is on the way to the
// message, and returns for how many ones of its counter; -1 if nothing is kept.
func (h *DUKPTHost) begin(m *DUKPTMessage, base *Key) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := h.terminals[m.ksn.Terminal()]
	if kept == nil {
		return -1
	}
	way := kept.Value.(*dukptWay)
	if way.base != base && !way.base.Same(base) {
		way.wipe()
		h.order.Remove(kept)
		delete(h.terminals, m.ksn.Terminal())
		return -1
	}
	shared := sharedOnes(way.counter, m.ksn.Counter())
	copy(m.way.keys()[:shared+1], way.keys()[:shared+1])
	return shared
}

// sharedOnes is how many ones two counters have in common, from the highest on.
func sharedOnes(a, b uint32) (n int) {
	for a != 0 && b != 0 {
		high := bits.LeadingZeros32(a)
		if high != bits.LeadingZeros32(b) {
			break
		}
		mask := uint32(1)<<(31-high) - 1
		a, b = a&mask, b&mask
		n++
	}
	return n
}

// walk derives the keys on the way from the first ones of the counter on, which are there.
func (m *DUKPTMessage) walk(of Algorithm, ones int) error {
	left, reached := m.ksn.Counter(), uint32(0)
	data, keys := [8]byte(m.ksn[4:]), m.way.keys()
	for n := 1; left != 0; n++ {
		highest := uint32(1) << (31 - bits.LeadingZeros32(left))
		left, reached = left&^highest, reached|highest
		if n <= ones {
			continue
		}
		binary.BigEndian.PutUint32(data[4:], reached)
		if err := m.derive(of, keys[n-1][:of.size()], dukptDerivation, data, &keys[n]); err != nil {
			return err
		}
	}
	return nil
}

// current is the key that all keys of the message follow from, and the data they do by.
func (m *DUKPTMessage) current(of Algorithm) (key []byte, data [8]byte) {
	return m.way.keys()[bits.OnesCount32(m.ksn.Counter())][:of.size()], [8]byte(m.ksn[4:])
}

// derive derives a key of the algorithm that it is derived from.
func (m *DUKPTMessage) derive(of Algorithm, from []byte, use DUKPTUse, data [8]byte, into *[maxDerived]byte) error {
	block, err := newBlock(of, from)
	if err != nil {
		return fmt.Errorf("derive: %w", err)
	}
	return m.encipher(block, of, use, data, into)
}

// encipher is what derive comes to, with the key that it is derived from expanded.
func (m *DUKPTMessage) encipher(block cipher.Block, of Algorithm, use DUKPTUse, data [8]byte, into *[maxDerived]byte) error {
	text := m.text[:of.size()] // Within m: what a block cipher is given is on the heap.
	if err := dukptText(text, use, of, data); err != nil {
		return err
	}
	for i := 0; i < len(text); i += block.BlockSize() {
		block.Encrypt(text[i:], text[i:])
	}
	copy(into[:], text)
	wipe(text)
	return nil
}

// ready makes a MAC ready of what follows from the current key for use.
func (m *DUKPTMessage) ready(current cipher.Block, of Algorithm, use DUKPTUse, into *MAC) error {
	var key [maxDerived]byte
	defer wipe(key[:])
	if err := m.encipher(current, of, use, [8]byte(m.ksn[4:]), &key); err != nil {
		return err
	}
	block, err := newBlock(of, key[:of.size()])
	if err != nil {
		return fmt.Errorf("derive: %w", err)
	}
	keys := into.keys()
	keys.block = block
	keys.subkeys.of(block)
	return nil
}

// Request is what the message is authenticated by, until m is used again.
func (m *DUKPTMessage) Request() *MAC { return m.request }

// Answer is what its answer is authenticated by, until m is used again.
func (m *DUKPTMessage) Answer() *MAC { return m.answer }

// PIN makes ready what the PIN of the message is enciphered by.
func (m *DUKPTMessage) PIN() (*PINKey, error) {
	if m.way == nil || m.way.base == nil {
		return nil, fmt.Errorf("%w: no keys were derived", ErrKeyUse)
	}
	of := m.way.base.Algorithm
	current, data := m.current(of)
	var plain [maxDerived]byte
	defer wipe(plain[:])
	if err := m.derive(of, current, DUKPTPIN, data, &plain); err != nil {
		return nil, err
	}
	key, err := newKey(KeyInfo{Name: "dukpt/" + m.ksn.String(), Version: 1, Usage: PINWorking, Algorithm: of, State: KeyActive}, plain[:of.size()])
	if err != nil {
		return nil, err
	}
	return NewPINKey(key)
}

// Keep has the host keep the way to this message: it was authentic. A message that is
// behind the last one moves nothing.
func (m *DUKPTMessage) Keep() {
	h, terminal := m.host, m.way.terminal
	h.mu.Lock()
	defer h.mu.Unlock()
	if kept := h.terminals[terminal]; kept != nil {
		h.order.MoveToFront(kept)
		if way := kept.Value.(*dukptWay); way.counter < m.way.counter || !way.base.Same(m.way.base) {
			way.set(m.way)
		}
		return
	}
	if len(h.terminals) < h.most {
		way := newWay()
		way.set(m.way)
		h.terminals[terminal] = h.order.PushFront(way)
		return
	}
	last := h.order.Back()
	way := last.Value.(*dukptWay)
	delete(h.terminals, way.terminal)
	way.wipe()
	way.set(m.way)
	h.order.MoveToFront(last)
	h.terminals[terminal] = last
}

// Forget wipes the keys of the message; what the host keeps stays.
func (m *DUKPTMessage) Forget() {
	if m.host == nil {
		return
	}
	m.way.wipe()
	*m.request.keys(), *m.answer.keys() = macKeys{}, macKeys{}
	m.ksn = KSN{}
}

// Wipe forgets what is kept of all terminals.
func (h *DUKPTHost) Wipe() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.order.Front(); e != nil; e = e.Next() {
		e.Value.(*dukptWay).wipe()
	}
	h.order.Init()
	clear(h.terminals)
}

func newDerivedMAC() *MAC {
	return &MAC{algorithm: CMAC, key: "derived for a message", keys: hide(new(macKeys))}
}

// String is of which terminals keys are kept, by number; they are not printed.
func (h *DUKPTHost) String() string { return fmt.Sprintf("derived keys of %d terminals", h.Len()) }

// Format writes [DUKPTHost.String] for every verb.
func (h *DUKPTHost) Format(state fmt.State, _ rune) { _, _ = fmt.Fprint(state, h.String()) }

// LogValue is [DUKPTHost.String].
func (h *DUKPTHost) LogValue() slog.Value { return slog.StringValue(h.String()) }
