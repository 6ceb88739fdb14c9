package pointswitch

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// ZoneRules is what is agreed with a partner about keys.
type ZoneRules struct {
	MAC certs.MACAlgorithm
	// Optional lets messages be without a MAC; one that is there must be right.
	Optional bool
}

// ZonesOptions is what [Zones] are made of.
type ZonesOptions struct {
	Keystore *certs.Keystore
	Rules    map[certs.Zone]ZoneRules // partners that are not here share no keys with us
	// Overlap is for how long the keys before are believed when others come in force.
	Overlap time.Duration
	// MACErrors is how many wrong MACs in a row cost a partner its keys, until others
	// are exchanged.
	MACErrors int
	Clock     points.Clock
	Log       *slog.Logger
}

// Zones are the partners with whom keys are shared: hosts of acquirers and of issuers. The
// keystore holds the keys, so that a restart has them again. Safe for concurrent use.
type Zones struct {
	opts ZonesOptions
	all  atomic.Pointer[map[certs.Zone]*zone]
}

// NewZones makes the zones; nobody is asked for anything.
func NewZones(opts ZonesOptions) (*Zones, error) {
	if opts.Keystore == nil || opts.Clock == nil || opts.Log == nil {
		return nil, errors.New("switch: keystore, clock and log are needed to share keys with partners")
	}
	if opts.Overlap <= 0 || opts.MACErrors <= 0 {
		return nil, fmt.Errorf("switch: overlap %v and MAC errors %d must be above zero", opts.Overlap, opts.MACErrors)
	}
	s := &Zones{opts: opts}
	s.Reload(opts.Rules)
	return s, nil
}

// Reload puts other rules in force. Partners whose rules stay are not disturbed.
func (s *Zones) Reload(rules map[certs.Zone]ZoneRules) {
	before := s.all.Load()
	all := make(map[certs.Zone]*zone, len(rules))
	now := s.opts.Clock()
	for id, r := range rules { // In any order: each is by itself.
		if before != nil {
			if known := (*before)[id]; known != nil && known.rules == r {
				all[id] = known
				continue
			}
		}
		all[id] = &zone{of: s, id: id, rules: r, changes: bucket{each: int64(changeEvery), burst: changeBurst * int64(changeEvery)}}
		if ring := all[id].at(now); ring.now == nil {
			s.opts.Log.Info("no keys are shared with a partner yet; its messages wait for an exchange (0800, DE70 161)", slog.String("zone", id.String()))
		}
	}
	s.all.Store(&all)
}

// find returns the zone of a partner; nil where no keys are shared with it.
func (s *Zones) find(role certs.Role, id uint64) *zone {
	if s == nil {
		return nil
	}
	return (*s.all.Load())[certs.Zone{Role: role, ID: id}]
}

// zone is one partner. What is shared with it at a time is its ring.
//
//	             exchange                so many wrong MACs in a row
//	no keys ───────────────> keys ─────────────────────────────────> no use of them
//	                         ^  │ exchange                            │ exchange
//	                         └──┴─────────────────────────────────────┘
type zone struct {
	of    *Zones
	id    certs.Zone
	rules ZoneRules

	ring  atomic.Pointer[zoneRing]
	mu    sync.Mutex   // held while a ring is made
	wrong atomic.Int32 // MACs in a row
	// spent is since when the keys were in force that are not used any more, because too
	// many MACs were wrong.
	spent atomic.Int64
	// changes bounds how often the partner has keys changed: each writes the keystore, which
	// is everybody's, and stays in it.
	changes bucket
}

// zoneRing is what is shared at a time, each key expanded once. It does not change.
type zoneRing struct {
	generation        uint64 // of the keystore
	from, until, ends points.Timestamp
	since             points.Timestamp
	now, before, next *workingKeys // nil: there are none
	offer             string       // check values of next
}

// at is what is shared at now.
func (z *zone) at(now points.Timestamp) *zoneRing {
	if ring := z.ring.Load(); ring.holds(z.of.opts.Keystore, now) {
		return ring
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if ring := z.ring.Load(); ring.holds(z.of.opts.Keystore, now) {
		return ring
	}
	generation := z.of.opts.Keystore.Generation() // First: keys that come meanwhile make another ring.
	keys := z.of.opts.Keystore.ZoneRing(z.id, now, z.of.opts.Overlap)
	ring := &zoneRing{generation: generation, from: now, until: keys.Until, ends: keys.Ends, since: keys.Since, offer: keys.Next.Checks()}
	ring.now, ring.before, ring.next = z.expand(keys.Now), z.expand(keys.Before), z.expand(keys.Next)
	z.ring.Store(ring)
	return ring
}

func (r *zoneRing) holds(store *certs.Keystore, now points.Timestamp) bool {
	return r != nil && now >= r.from && now < r.until && r.generation == store.Generation()
}

// expand makes keys ready; nil if there are none, or they cannot be used as is agreed.
func (z *zone) expand(keys certs.ZoneKeys) *workingKeys {
	ready := new(workingKeys)
	var err error
	if keys.MAC != nil {
		ready.mac, err = certs.NewMAC(keys.MAC, z.rules.MAC)
	}
	if keys.PIN != nil && err == nil {
		ready.pin, err = certs.NewPINKey(keys.PIN)
	}
	if err != nil {
		z.of.opts.Log.Error("keys with a partner cannot be used", slog.String("zone", z.id.String()), slog.String("error", err.Error()))
		return nil
	}
	if ready.mac == nil && (ready.pin == nil || !z.rules.Optional) {
		return nil
	}
	return ready
}

// current is what is made anew is made with; nil until keys are exchanged.
func (z *zone) current(now points.Timestamp) *workingKeys {
	ring := z.at(now)
	if z.isSpent(ring) {
		return nil
	}
	return ring.now
}

// signs is the keys that a message to the partner carries a MAC by; nil where it needs
// none. ok is false where it needs one and there are no keys.
func (z *zone) signs(now points.Timestamp) (keys *workingKeys, ok bool) {
	if z == nil {
		return nil, true
	}
	if keys = z.current(now); keys == nil || keys.mac == nil {
		return nil, z.rules.Optional
	}
	return keys, true
}

func (z *zone) isSpent(ring *zoneRing) bool {
	return ring.since != 0 && z.spent.Load() == int64(ring.since)
}

// demands reports whether a message of the partner must carry a MAC. Network messages are
// without one, but for a change of keys, while there are keys.
func (z *zone) demands(req *points.Request, now points.Timestamp) bool {
	switch {
	case z.rules.Optional:
		return false
	case req.Class != points.ClassNetwork:
		return true
	default:
		return req.Function == points.KeyChange && z.current(now) != nil
	}
}

// verify finds the keys by which a message of the partner that carries a MAC has it; nil,
// and why, if it is not to be believed. count says that a wrong one counts.
func (z *zone) verify(d *dialect.Dialect, frame []byte, req *points.Request, now points.Timestamp, count bool) (keys *workingKeys, cause string) {
	ring := z.at(now)
	signed := d.Signed(frame, req)
	spent := z.isSpent(ring)
	if !spent {
		if right(ring.now, signed, req) {
			if z.wrong.Load() != 0 { // Seldom: no two processors fight for it.
				z.wrong.Store(0)
			}
			return ring.now, ""
		}
		if now < ring.ends && right(ring.before, signed, req) {
			return ring.before, ""
		}
	}
	if right(ring.next, signed, req) { // It has what was sent to it, whatever its answer says.
		z.confirm(ring.offer, now)
		return ring.next, ""
	}
	if spent || ring.now == nil {
		return nil, macNoKeys
	}
	if count {
		z.strike(ring)
	}
	return nil, macWrong
}

// strike counts a wrong MAC.
func (z *zone) strike(ring *zoneRing) {
	if ring.since == 0 || z.wrong.Add(1) < int32(z.of.opts.MACErrors) { //nolint:gosec // a small bound.
		return
	}
	z.wrong.Store(0)
	z.spent.Store(int64(ring.since))
	z.of.opts.Log.Warn("too many wrong MACs of a partner: its messages wait for other keys (0800, DE70 161)", slog.String("zone", z.id.String()))
}

func right(keys *workingKeys, signed []byte, req *points.Request) bool {
	return keys != nil && keys.mac != nil && keys.mac.Verify(signed, req.MAC[:])
}

// confirm puts the keys in force that were sent to the partner.
func (z *zone) confirm(checks string, now points.Timestamp) {
	if err := z.of.opts.Keystore.ConfirmZoneKeys(z.id, checks, now); err != nil {
		// Another message may have been faster; else the partner has keys that we do not use yet.
		z.of.opts.Log.Warn("keys that a partner has taken are not in force", slog.String("zone", z.id.String()), slog.String("error", err.Error()))
		return
	}
	z.of.opts.Log.Info("keys are in force with a partner that were sent to it", slog.String("zone", z.id.String()), slog.String("kcv", checks))
}

// How often a partner may have keys changed: so many times in a row, and then as often.
const (
	changeBurst = 16
	changeEvery = time.Minute
)

// change carries out a change of keys that the partner asks for: what it sends comes in
// force, and who sends nothing is sent keys, which come in force with the first message
// that uses them.
func (z *zone) change(d *dialect.Dialect, frame []byte, resp *points.Response, now points.Timestamp) points.Reason {
	if !z.changes.take(now, false) {
		return points.Overloaded
	}
	blocks, checks, err := d.KeyBlocks(frame)
	switch {
	case err != nil:
	case len(blocks) == 0:
		resp.List, resp.Check, err = z.offer(now)
	default:
		var taken certs.ZoneKeys
		if taken, err = z.of.opts.Keystore.TakeZoneKeys(z.id, z.rules.MAC, blocks, checks, now); err == nil {
			resp.Check = taken.Checks()
			z.of.opts.Log.Info("keys are in force that a partner has sent", slog.String("zone", z.id.String()), slog.String("kcv", resp.Check))
		}
	}
	if err == nil {
		return points.Approved
	}
	z.of.opts.Log.Warn("a partner's change of keys is refused", slog.String("zone", z.id.String()), slog.String("error", err.Error()))
	switch {
	case errors.Is(err, certs.ErrZoneKeys):
		const blockField = 120
		resp.Field = blockField
		return points.FormatError
	case errors.Is(err, certs.ErrNoKey), errors.Is(err, certs.ErrKeyUse): // There is no master key, or none in force.
		return points.FunctionDisabled
	default:
		return points.InternalError
	}
}

// offer is keys for the partner, as key blocks with their check values.
func (z *zone) offer(now points.Timestamp) (blocks, checks string, err error) {
	algorithm := certs.AES128
	switch z.rules.MAC {
	case certs.RetailMAC:
		algorithm = certs.TDES
	case certs.HMAC:
		algorithm = certs.HMACSHA256
	default:
	}
	return z.of.opts.Keystore.OfferZoneKeys(z.id, algorithm, true, now)
}

// authenticHost checks the MAC of a message of an acquirer's host, as [Switch.authentic]
// does that of a terminal's.
func (s *Switch) authenticHost(x *exchange, frame []byte) points.Reason {
	zone := s.opts.Zones.find(certs.RoleAcquirer, uint64(x.acceptor.Acquirer.ID))
	if zone == nil {
		return points.Approved
	}
	if !x.req.Has(64) && !x.req.Has(128) {
		if zone.demands(&x.req, x.req.At) {
			return s.notAuthentic(macMissing)
		}
		return points.Approved
	}
	keys, cause := zone.verify(x.session.listener.dialect, frame, &x.req, x.req.At, true)
	switch {
	case keys != nil:
		x.keys = keys
	case cause == macNoKeys && x.req.Function == points.KeyChange:
		unsigned(&x.req) // What it brings is authenticated by itself.
	default:
		return s.notAuthentic(cause)
	}
	return points.Approved
}

// recognise has a refusal carry a MAC that comes before the request's own was looked at:
// who asks with a right one is answered with one. A wrong one is not counted, and who is
// not who the connection has shown to be is not answered with one.
func (s *Switch) recognise(x *exchange, frame []byte) {
	req := &x.req
	if req.Door != points.DoorHost || x.keys != nil || (!req.Has(64) && !req.Has(128)) {
		return
	}
	zone := s.opts.Zones.find(certs.RoleAcquirer, uint64(req.Acquirer))
	if zone == nil {
		return
	}
	if peer := x.session.peer; peer == nil || (peer.Role == certs.RoleAcquirer && peer.Acquirer == req.Acquirer) {
		x.keys, _ = zone.verify(x.session.listener.dialect, frame, req, req.At, false)
	}
	if x.keys == nil {
		unsigned(req)
	}
}

// unsigned has the answer to req be without a MAC.
func unsigned(req *points.Request) {
	req.Unmark(64)
	req.Unmark(128)
}

// changeKeys answers an acquirer's host that changes the keys with us.
func (s *Switch) changeKeys(x *exchange, frame []byte) {
	zone := s.opts.Zones.find(certs.RoleAcquirer, uint64(x.acceptor.Acquirer.ID))
	if zone == nil {
		x.answer(points.FunctionDisabled)
		return
	}
	x.session.handOn() // What came before it is on its way.
	x.answer(zone.change(x.session.listener.dialect, frame, &x.resp, x.req.At))
}
