package pointswitch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Names of the keys in the keystore that serve all terminals and cards.
const (
	// DerivationKey is what the working keys of terminals follow from. Another version of
	// it serves at the next sign-on; after a restart terminals that signed on before have
	// to sign on again.
	DerivationKey = "working"
	// PINVerificationKey is what the values of PINs are made with. Its first version is
	// used for ever: values that were made under it cannot be made anew without the PINs.
	PINVerificationKey = "pin-verification"
)

// BaseKeyName is what the base key is called that the keys of terminals are derived from
// for each message; ksn are the four bytes that name it in key serial numbers.
func BaseKeyName(ksn [4]byte) string {
	const digits = "0123456789ABCDEF"
	name := []byte("bdk/00000000")
	for i, b := range ksn {
		name[4+2*i], name[5+2*i] = digits[b>>4], digits[b&0xF]
	}
	return string(name)
}

// dukptTerminals bounds of how many terminals with derived keys the keys on the way to the
// last message are kept: some ten megabytes.
const dukptTerminals = 16_384

// keyring is what terminals are authenticated with. Any number of goroutines may use it.
//
//	          sign-on           first use              so many wrong MACs in a row
//	no keys ───────────> given ───────────> in force ─────────────────────────────> no keys
//	                      ^ │ sign-on: the same  │ sign-on: others are given besides,
//	                      └─┘                    └ and in force until those are used
//
// A sign-on has no MAC by the keys, and on a line without TLS anybody can send one: so it takes
// nothing away. What it gives, under the master key, is of use to the terminal alone. A terminal
// may wait with keys of each set: who asks for another set takes the place of nothing.
type keyring struct {
	store    *certs.Keystore // nil: there is none, and no terminal has keys
	verifier *certs.PINVerifier
	most     int32 // wrong MACs in a row
	derived  *certs.DUKPTHost
	seen     atomic.Uint64 // the keystore's generation that derived follows from

	mu     sync.RWMutex                       // guards what follows
	of     map[points.TerminalID]*workingKeys // in force
	given  map[points.TerminalID][]*givenKeys // at a sign-on, and not used yet: one of each set at most; a list is never written to, but replaced
	proved map[provedBy]uint32                // versions; see master.go
	zones  map[points.IssuerID]zoneKey        // those that were used
}

// workingKeys are the keys of one terminal, expanded once, at its sign-on.
type workingKeys struct {
	merchant points.MerchantID
	by       book.MAC // what mac is made by
	mac      *certs.MAC
	pin      *certs.PINKey
	wrong    atomic.Int32 // MACs in a row
}

// givenKeys are keys that a sign-on has given a terminal which has not used them.
type givenKeys struct {
	*workingKeys
	derived *certs.WorkingKeys
	base    *certs.Key // that they follow from
}

func newKeyring(store *certs.Keystore, most int, now points.Timestamp) (*keyring, error) {
	r := &keyring{
		store: store, most: int32(most), //nolint:gosec // a small bound.
		of: make(map[points.TerminalID]*workingKeys), given: make(map[points.TerminalID][]*givenKeys), proved: make(map[provedBy]uint32), zones: make(map[points.IssuerID]zoneKey),
	}
	if store == nil {
		return r, nil
	}
	var err error
	if r.derived, err = certs.NewDUKPTHost(dukptTerminals); err != nil {
		return nil, err
	}
	if most <= 0 {
		return nil, fmt.Errorf("switch: MAC errors %d must be above zero", most)
	}
	if _, err := store.Use(DerivationKey, certs.WorkingDerivation, now); err != nil {
		return nil, fmt.Errorf("switch: %w; make it: lianfen keys generate %s --usage %v", err, DerivationKey, certs.WorkingDerivation)
	}
	key, err := store.Key(PINVerificationKey, 1)
	if err == nil {
		err = key.InForce(now, true)
	}
	if err == nil {
		r.verifier, err = certs.NewPINVerifier(key)
	}
	if err != nil {
		return nil, fmt.Errorf("switch: %w; make it: lianfen keys generate %s --usage %v", err, PINVerificationKey, certs.PINVerification)
	}
	return r, nil
}

// find returns the keys of a terminal that are in force, nil where there are none, and those
// that it was given and has not used yet. Those that it was given elsewhere, or for another
// algorithm than it is to use, are none.
func (r *keyring) find(terminal *book.Terminal) (inForce *workingKeys, given []*givenKeys) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if inForce = r.of[terminal.ID]; !inForce.serve(terminal) {
		inForce = nil
	}
	given = r.given[terminal.ID]
	foreign := func(k *givenKeys) bool { return !k.serve(terminal) }
	if slices.ContainsFunc(given, foreign) {
		given = without(given, foreign)
	}
	return inForce, given
}

// serve reports whether the keys are those of the terminal as its record is now.
func (k *workingKeys) serve(terminal *book.Terminal) bool {
	return k != nil && k.merchant == terminal.Merchant && k.by == terminal.MAC
}

// waiting are the keys of a set that a terminal was given and has not used; nil: none.
func (r *keyring) waiting(terminal *book.Terminal, set certs.KeySet, now points.Timestamp) *givenKeys {
	base, err := r.store.Use(DerivationKey, certs.WorkingDerivation, now)
	if err != nil {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, next := range r.given[terminal.ID] {
		if next.serve(terminal) && next.derived.Set() == set && next.base.Version == base.Version {
			return next
		}
	}
	return nil
}

// put has the keys be those that a terminal has, from the start of the process on.
func (r *keyring) put(terminal points.TerminalID, keys *workingKeys) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[terminal] = keys
}

// give has a terminal have keys that it has not used, instead of those of the same set.
func (r *keyring) give(terminal points.TerminalID, keys *givenKeys) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.given[terminal] = append(without(r.given[terminal], func(k *givenKeys) bool { return k.derived.Set() == keys.derived.Set() }), keys)
}

// without is a list of its own of those keys that are not told by out.
func without(list []*givenKeys, out func(*givenKeys) bool) []*givenKeys {
	return slices.DeleteFunc(slices.Clone(list), out)
}

// use puts keys in force that a terminal was given: it has used them, and all others that it
// has are over.
func (r *keyring) use(terminal points.TerminalID, keys *givenKeys) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.given[terminal], keys) {
		r.of[terminal] = keys.workingKeys
		delete(r.given, terminal)
	}
}

// drop takes keys from a terminal, and those that it was given besides, unless it has others
// by now.
func (r *keyring) drop(terminal points.TerminalID, inForce *workingKeys, given []*givenKeys) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[terminal] == inForce {
		delete(r.of, terminal)
	}
	left := without(r.given[terminal], func(k *givenKeys) bool { return slices.Contains(given, k) })
	if r.given[terminal] = left; len(left) == 0 {
		delete(r.given, terminal)
	}
}

// macAlgorithm is the algorithm that a terminal's record names.
func macAlgorithm(by book.MAC) (certs.MACAlgorithm, error) {
	return certs.ParseMACAlgorithm(by.String())
}

// derive makes ready the keys that terminal has by its sign-on at generation. The
// generation is a position of the journal, so that no two sign-ons give the same keys.
func (r *keyring) derive(terminal *book.Terminal, set certs.KeySet, generation points.Position, now points.Timestamp) (*certs.WorkingKeys, *workingKeys, error) {
	base, err := r.store.Use(DerivationKey, certs.WorkingDerivation, now)
	if err != nil {
		return nil, nil, err
	}
	derived, err := certs.DeriveWorkingKeys(base, set, terminal.Merchant, terminal.ID, uint64(generation))
	if err != nil {
		return nil, nil, err
	}
	algorithm, err := macAlgorithm(terminal.MAC)
	if err != nil {
		return nil, nil, err
	}
	ready := &workingKeys{merchant: terminal.Merchant, by: terminal.MAC}
	if ready.mac, err = certs.NewMAC(derived.MAC, algorithm); err != nil {
		return nil, nil, err
	}
	if ready.pin, err = certs.NewPINKey(derived.PIN); err != nil {
		return nil, nil, err
	}
	return derived, ready, nil
}

// Restore gives the terminals the keys again that they had when the process ended: the
// journal knows the position of each one's last sign-on. It is called once, before the
// first listener opens. A terminal whose keys cannot be made again has to sign on.
func (s *Switch) Restore(ctx context.Context) error {
	if s.keys.store == nil {
		return nil
	}
	type signedOn struct {
		terminal *book.Terminal
		keys     book.TerminalKeys
	}
	var all []signedOn
	err := s.opts.Ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		for _, terminal := range registry.Terminals { // in any order: each is by itself
			merchant := registry.Merchants[terminal.Merchant]
			if terminal.MAC == 0 || merchant == nil {
				continue
			}
			keys, err := b.Keys(merchant.Acquirer, terminal.Merchant, terminal.ID)
			if err != nil {
				return err
			}
			if keys.Set != 0 {
				all = append(all, signedOn{terminal, keys})
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("switch: read which keys terminals have: %w", err)
	}
	now := s.opts.Clock()
	for _, t := range all {
		s.keys.proves(t.terminal, t.keys.Master)
		_, ready, err := s.keys.derive(t.terminal, certs.KeySet(t.keys.Set), t.keys.Generation, now)
		if err != nil {
			s.opts.Log.Warn("a terminal has to sign on again: its keys cannot be made anew", slog.String("terminal", t.terminal.ID.String()), slog.String("error", err.Error()))
			continue
		}
		s.keys.put(t.terminal.ID, ready)
	}
	return nil
}

// ReloadKeys reads the keystore again, and reports whether it had changed; accept may
// refuse what it reads. Keys that terminals have stay what they are; what is new serves
// from the next sign-on on.
func (s *Switch) ReloadKeys(accept func(certs.Mark) error) (changed bool, err error) {
	if s.keys.store == nil {
		return false, nil
	}
	return s.keys.store.Reload(accept)
}

// keySetOf is the set of keys that a sign-on asks for (60.3); 0 where there is none. Only
// what the terminal's MAC can be made with is given: a terminal that is to use AES is not
// talked into DES.
func keySetOf(req *points.Request, by book.MAC) certs.KeySet {
	sets := map[uint16]certs.KeySet{}
	switch by {
	case book.MACByXOR:
		sets = map[uint16]certs.KeySet{1: certs.KeySet001, 3: certs.KeySet003, 4: certs.KeySet004}
	case book.MACByCMAC:
		sets = map[uint16]certs.KeySet{dialect.SignOnAES128: certs.KeySetAES128, dialect.SignOnAES256: certs.KeySetAES256}
	case book.MACByHMAC:
		sets = map[uint16]certs.KeySet{dialect.SignOnHMAC: certs.KeySetHMAC}
	case book.MACByRetail:
	}
	return sets[req.NetworkCode]
}

// signingOn sees that a terminal's sign-on can be answered with the keys that it asks
// for, and says in the command which they are.
func (s *Switch) signingOn(x *exchange, acceptor router.Acceptor) points.Reason {
	terminal := acceptor.Terminal
	if terminal.MAC == 0 || terminal.DUKPT != (book.InitialKey{}) {
		if x.req.NetworkCode >= dialect.SignOnAES128 {
			return points.FunctionDisabled
		}
		return points.Approved // It has no keys, and asks for its batch.
	}
	set := keySetOf(&x.req, terminal.MAC)
	if set == 0 {
		return points.FunctionDisabled
	}
	proves := false
	if x.master != nil {
		x.cmd.Master = x.master.Version
		proved, err := s.hasProved(terminal)
		proves = err != nil || x.master.Version > proved
	} else if _, _, err := s.masters(terminal); err != nil {
		s.logNoMaster(terminal, err)
		return points.FunctionDisabled
	}
	if !proves {
		if x.given = s.keys.waiting(terminal, set, x.req.At); x.given != nil {
			return points.Approved // The journal has them already.
		}
	}
	x.cmd.KeySet = uint8(set)
	return points.Approved
}

// signedOn puts the keys of a sign-on that is durable into its answer: those that wait to be
// used, or others, which are in force with their first use.
func (x *exchange) signedOn(out *book.Outcome) points.Reason {
	s, terminal := x.s, x.acceptor.Terminal
	s.keys.proves(terminal, x.cmd.Master)
	given := x.given
	var err error
	if given == nil {
		given = new(givenKeys)
		given.base, err = s.keys.store.Use(DerivationKey, certs.WorkingDerivation, x.req.At)
	}
	if err == nil && x.given == nil {
		given.derived, given.workingKeys, err = s.keys.derive(terminal, certs.KeySet(x.cmd.KeySet), out.Position, x.req.At)
	}
	var wrapped []byte
	master := x.master
	if err == nil && master == nil {
		master, _, err = s.masters(terminal)
	}
	if err == nil {
		wrapped, err = given.derived.AppendWrapped(nil, master)
	}
	if err != nil {
		s.opts.Log.Error("a terminal's keys cannot be made", slog.String("terminal", terminal.ID.String()), slog.String("error", err.Error()))
		return points.InternalError
	}
	if x.given == nil {
		s.keys.give(terminal.ID, given)
	}
	x.resp.List = string(wrapped)
	return points.Approved
}

// Why a message is not believed.
const (
	macWrong   = "wrong"
	macMissing = "missing"
	macNoKeys  = "no_keys"
	macBadKSN  = "bad_ksn" // its key serial number is nobody's, or another terminal's
	macSpent   = "spent"   // its key serial number was used before, or a later one
)

// authentic checks the MAC of a terminal's message (messages.md 10.3). Those that the
// convention sends without one may be without; one that is there is right, or the message
// is refused. The answer carries one by the same key.
func (s *Switch) authentic(x *exchange, frame []byte) points.Reason {
	if x.req.Door == points.DoorHost {
		return s.authenticHost(x, frame)
	}
	terminal := x.acceptor.Terminal
	if terminal == nil || terminal.MAC == 0 {
		return points.Approved
	}
	if x.req.Function == points.SignOn {
		return s.proof(x, frame)
	}
	if !x.req.Has(64) && !x.req.Has(128) {
		if (terminal.MACOptional || !authenticated(x.req.Class)) && x.req.Function != points.KeyChange {
			x.keys = nil
			return points.Approved
		}
		return s.notAuthentic(macMissing)
	}
	if terminal.DUKPT != (book.InitialKey{}) {
		return s.derived(x, frame)
	}
	signed := x.session.listener.dialect.Signed(frame, &x.req)
	inForce, given := s.keys.find(terminal)
	if inForce != nil && inForce.mac.Verify(signed, x.req.MAC[:]) {
		inForce.wrong.Store(0)
		x.keys = inForce
		return points.Approved
	}
	for _, next := range given {
		if next.mac.Verify(signed, x.req.MAC[:]) {
			s.keys.use(terminal.ID, next)
			next.wrong.Store(0)
			x.keys = next.workingKeys
			return points.Approved
		}
	}
	counted := inForce
	switch {
	case inForce != nil:
	case len(given) > 0:
		counted = given[0].workingKeys
	default:
		return s.notAuthentic(macNoKeys)
	}
	if counted.wrong.Add(1) >= s.keys.most {
		s.keys.drop(terminal.ID, inForce, given)
	}
	return s.notAuthentic(macWrong)
}

// derived checks the MAC of a terminal whose keys are derived for each message (ANSI
// X9.24-3). The serial number of the keys comes in DE59; that they were not used before is
// the ledger's to see, behind the repeat. The answer has the MAC of the same derivation.
func (s *Switch) derived(x *exchange, frame []byte) points.Reason {
	ksn := certs.KSN(x.req.KSN)
	if ksn.Terminal() != x.acceptor.Terminal.DUKPT || ksn.Valid() != nil || s.keys.store == nil {
		return s.notAuthentic(macBadKSN)
	}
	if x.derived == nil {
		x.derived = new(derivedKeys)
	}
	message := &x.derived.message
	if err := s.keys.deriveFor(message, ksn, x.req.At); err != nil {
		s.opts.Log.Warn("the keys of a message cannot be derived", slog.String("terminal", x.acceptor.Terminal.ID.String()), slog.String("error", err.Error()))
		return s.notAuthentic(macNoKeys)
	}
	if !message.Request().Verify(x.session.listener.dialect.Signed(frame, &x.req), x.req.MAC[:]) {
		return s.notAuthentic(macWrong)
	}
	message.Keep()
	keys := &x.derived.keys
	keys.mac, keys.pin = message.Answer(), nil
	if x.req.PINLen > 0 {
		var err error
		if keys.pin, err = message.PIN(); err != nil {
			return s.notAuthentic(macNoKeys)
		}
	}
	x.keys, x.cmd.Counter = keys, ksn.Counter()
	return points.Approved
}

// derivedKeys are the keys of one message, in its exchange.
type derivedKeys struct {
	message certs.DUKPTMessage
	keys    workingKeys
}

// forget wipes them.
func (k *derivedKeys) forget() {
	if k != nil {
		k.message.Forget()
		k.keys.mac, k.keys.pin = nil, nil
	}
}

// deriveFor makes the keys ready of the message with a key serial number. What is kept of
// terminals follows from a keystore that has changed since no longer.
func (r *keyring) deriveFor(message *certs.DUKPTMessage, ksn certs.KSN, now points.Timestamp) error {
	if generation := r.store.Generation(); r.seen.Load() != generation {
		r.derived.Wipe()
		r.seen.Store(generation)
	}
	base, err := r.store.Use(BaseKeyName([4]byte(ksn[:4])), certs.DUKPTBase, now)
	if err != nil {
		return err
	}
	return r.derived.Derive(message, base, ksn)
}

func (s *Switch) notAuthentic(cause string) points.Reason {
	s.metrics.unauthentic.WithLabelValues(cause).Inc()
	return points.BadMAC
}

// authenticated reports whether messages of a class carry a MAC: those that move points
// or show them (UnionPay POS convention).
func authenticated(class points.Class) bool {
	switch class {
	case points.ClassAuthorisation, points.ClassFinancial, points.ClassReversal:
		return true
	default:
		return false
	}
}

// pinFormat is how the PIN block of a request is laid out: by its length and, of eight
// bytes, by the first digit of DE53, where 3 says that it was filled at random (ours).
func pinFormat(req *points.Request) certs.PINFormat {
	const firstDigit = 1_000_000_000_000_000
	switch {
	case req.PINLen == 16:
		return certs.PINFormat4
	case req.Security/firstDigit == 3:
		return certs.PINFormat3
	default:
		return certs.PINFormat0
	}
}

// PINValue is what is kept of the PIN in block, which came for pan under key.
func (s *Switch) PINValue(key *certs.PINKey, format certs.PINFormat, block []byte, pan points.PAN) (book.PINValue, error) {
	if s.keys.verifier == nil {
		return book.PINValue{}, points.Errorf(points.FunctionDisabled, "switch: no keystore is configured; name one: keys.file")
	}
	value, err := s.keys.verifier.Value(key, format, block, pan)
	return book.PINValue(value), err
}

// pin gives the command what the request's PIN is compared by, where a ledger here does.
// A block that cannot be read is the ledger's to refuse: behind the repeat and the limits.
// Where the issuer's own host decides, it gets the PIN under the key that it shares with
// us; what cannot be passed on is refused here, rather than asked without the PIN.
func (s *Switch) pin(x *exchange) points.Reason {
	req, cmd := &x.req, &x.cmd
	keys, given, shared := s.pinKeys(x)
	if !shared {
		return points.Approved
	}
	switch cmd.Kind {
	case book.KindForward:
		return s.forwardPIN(x, keys, given)
	case book.KindRedeem, book.KindHold, book.KindTransfer, book.KindBalance:
	default:
		return points.Approved
	}
	if req.PINLen == 0 {
		return points.Approved
	}
	cmd.PINResult = book.PINUnreadable
	if s.keys.verifier == nil {
		return points.Approved
	}
	s.underOneOf(x, keys, given, func(key *certs.PINKey) error {
		value, err := s.keys.verifier.Value(key, pinFormat(req), req.PIN[:req.PINLen], req.PAN)
		if err == nil {
			cmd.PINResult, cmd.PINValue = 0, book.PINValue(value)
		}
		return err
	})
	return points.Approved
}

// underOneOf has a PIN read under the keys in force, or else under those that were given: with
// that they are in force. Errors of read are no more than that the PIN is under other keys.
func (s *Switch) underOneOf(x *exchange, keys *workingKeys, given []*givenKeys, read func(*certs.PINKey) error) bool {
	if keys != nil && read(keys.pin) == nil {
		return true
	}
	for _, next := range given {
		if read(next.pin) == nil {
			s.keys.use(x.acceptor.Terminal.ID, next)
			return true
		}
	}
	return false
}

// pinKeys are the keys that a request's PIN is under, nil where they are not there; shared
// is false where none are shared with its sender. A terminal whose message has no MAC may
// use some that it was given for the first time.
func (s *Switch) pinKeys(x *exchange) (keys *workingKeys, given []*givenKeys, shared bool) {
	terminal := x.acceptor.Terminal
	switch keys = x.keys; {
	case x.req.Door == points.DoorHost:
		zone := s.opts.Zones.find(certs.RoleAcquirer, uint64(x.acceptor.Acquirer.ID))
		if zone == nil {
			return nil, nil, false
		}
		if keys == nil {
			keys = zone.current(x.req.At)
		}
	case terminal == nil || terminal.MAC == 0:
		return nil, nil, false
	case keys == nil:
		keys, given = s.keys.find(terminal)
	}
	if keys != nil && keys.pin == nil {
		keys = nil
	}
	return keys, given, true
}

// ZonePINName is what the key for PINs with an issuer's own host is called.
func ZonePINName(issuer points.IssuerID) string {
	return certs.Zone{Role: certs.RoleIssuer, ID: uint64(issuer)}.PIN()
}

// forwardPIN enciphers the request's PIN anew for the issuer that is to decide.
func (s *Switch) forwardPIN(x *exchange, keys *workingKeys, given []*givenKeys) points.Reason {
	req := &x.req
	switch {
	case req.PINLen == 0 && x.acceptor.Terminal != nil && x.acceptor.Terminal.PIN == book.PINDemanded && !book.Told(req.Function):
		return points.PINRequired
	case req.PINLen == 0:
		return points.Approved
	case keys == nil && len(given) == 0:
		return points.BadPINFormat
	}
	zone, format, err := s.keys.zone(x.resp.Issuer, req.At)
	if err != nil {
		s.opts.Log.Warn("a PIN cannot be passed on to its issuer", slog.Uint64("issuer", uint64(x.resp.Issuer)), slog.String("error", err.Error()))
		return points.FunctionDisabled
	}
	translated := s.underOneOf(x, keys, given, func(key *certs.PINKey) error {
		block, err := certs.TranslatePIN(x.pin[:0], key, pinFormat(req), req.PIN[:req.PINLen], req.PAN, zone, format, rand.Reader)
		x.pinLen = uint8(len(block)) //nolint:gosec // at most 16.
		return err
	})
	if !translated {
		x.pinLen = 0
		return points.BadPINFormat
	}
	return points.Approved
}

// zoneKey is a key with an issuer, expanded once.
type zoneKey struct {
	of *certs.Key
	*certs.PINKey
}

// zone is the key with an issuer that is in force, and how a block under it is laid out.
func (r *keyring) zone(issuer points.IssuerID, now points.Timestamp) (*certs.PINKey, certs.PINFormat, error) {
	if r.store == nil {
		return nil, 0, errNoKeystore
	}
	key, err := r.store.Use(ZonePINName(issuer), certs.ZonePIN, now)
	if err != nil {
		return nil, 0, err
	}
	format := certs.PINFormat4
	if key.Algorithm == certs.TDES {
		format = certs.PINFormat0
	}
	r.mu.RLock()
	known := r.zones[issuer]
	r.mu.RUnlock()
	if known.of == key {
		return known.PINKey, format, nil
	}
	ready, err := certs.NewPINKey(key)
	if err != nil {
		return nil, 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.zones[issuer] = zoneKey{key, ready}
	return ready, format, nil
}

var errNoKeystore = errors.New("switch: no keystore is configured; name one: keys.file")
