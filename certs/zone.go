package certs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/lianfen/lianfen/points"
)

// Zone is a partner with whom keys are shared: an acquirer's host or an issuer's. The zone
// master key is given once, in components; under it the two sides send each other key
// blocks with the zone keys, one for MACs and one for PINs, as often as they like:
//
//	          take                       take, or confirm
//	no keys ───────> in force ──────────────────────────────> before ── overlap over ──> destroyed
//	    │              ^ confirm                                          or other keys
//	    └── offer ──> on offer ── other keys ──> destroyed
//
// A key that was here once, in whatever state it is now, is not taken again. Name and
// check value of all of them stay in the keystore, and with them all that a restart needs.
type Zone struct {
	Role Role // RoleAcquirer or RoleIssuer
	ID   uint64
}

func (z Zone) name(kind string) string { return fmt.Sprintf("%s/%v/%08d", kind, z.Role, z.ID) }

// Master is what the key is called under which keys are exchanged with the partner.
func (z Zone) Master() string { return z.name("zmk") }

// MAC is what the key for MACs with the partner is called.
func (z Zone) MAC() string { return z.name("zak") }

// PIN is what the key for PIN blocks with the partner is called.
func (z Zone) PIN() string { return z.name("zpk") }

// String is the partner's role and number.
func (z Zone) String() string { return z.name("zone")[len("zone/"):] }

// ErrZoneKeys is wrapped by every refusal of a partner's keys.
var ErrZoneKeys = errors.New("zone keys refused")

// onOffer is when a key comes in force that was sent to a partner who has not said yet that
// it was taken.
const onOffer points.Timestamp = math.MaxInt64

// OnOffer reports whether the key was sent to a partner who has not said yet that it was
// taken.
func (k *KeyInfo) OnOffer() bool { return k.From == onOffer }

// ZoneKeys are the keys of one exchange with a partner.
type ZoneKeys struct {
	MAC *Key // nil: only PINs are enciphered
	PIN *Key // nil: there is none
}

// Checks is the check values of the keys, as they stand in DE48: of the MAC key first.
func (k ZoneKeys) Checks() string {
	var checks []byte
	for _, key := range []*Key{k.MAC, k.PIN} {
		if key != nil {
			checks = append(checks, key.Check.String()...)
		}
	}
	return string(checks)
}

// ZoneRing is what is shared with a partner at a time.
type ZoneRing struct {
	Now    ZoneKeys // what is made anew is made with these
	Before ZoneKeys // and until Ends these are believed, too
	Ends   points.Timestamp
	Next   ZoneKeys         // on offer
	Since  points.Timestamp // when Now came in force
	Until  points.Timestamp // the ring may be another one from then on
}

// ZoneRing returns what is shared with a partner at now. The keys that were in force before
// are believed for overlap longer, so that what was on its way is.
func (s *Keystore) ZoneRing(z Zone, now points.Timestamp, overlap time.Duration) ZoneRing {
	ring := ZoneRing{Until: onOffer}
	keys := s.keys.Load()
	var before ZoneKeys
	var macSince, pinSince points.Timestamp
	ring.Now.MAC, before.MAC, ring.Next.MAC, macSince = keys.zone(z.MAC(), ZoneMAC, now, &ring.Until)
	ring.Now.PIN, before.PIN, ring.Next.PIN, pinSince = keys.zone(z.PIN(), ZonePIN, now, &ring.Until)
	ring.Since, ring.Ends = macSince, macSince.Add(overlap)
	switch {
	case ring.Now.MAC == nil:
		ring.Since, ring.Ends = pinSince, pinSince.Add(overlap)
	case pinSince != macSince || before.PIN == nil:
		before.PIN = ring.Now.PIN // Keys that came together go together; this one did not.
	}
	if ring.Ends > now && (before.MAC != nil || ring.Now.MAC == nil) {
		ring.Before, ring.Until = before, min(ring.Until, ring.Ends)
	}
	return ring
}

// zone finds the versions of a key with a partner: the one in force, the one right before
// it unless that was retired, the one on offer; since is from when on the first has been in force, and until is made earlier
// where a version comes in force or ends before it.
func (r *keyring) zone(name string, usage Usage, now points.Timestamp, until *points.Timestamp) (current, before, next *Key, since points.Timestamp) {
	for _, key := range slices.Backward(r.keys[name]) {
		if key.Usage != usage || key.secret == nil {
			continue
		}
		for _, at := range []points.Timestamp{key.From, key.Until} {
			if at > now {
				*until = min(*until, at)
			}
		}
		switch {
		case key.From == onOffer && key.State == KeyActive:
			next = key
		case current == nil && key.InForce(now, false) == nil:
			current, since = key, key.From
		case current != nil:
			if key.State == KeyActive && key.From <= now {
				before = key
			}
			return current, before, next, since
		}
	}
	return current, before, next, since
}

// ZoneKeysOf opens the key blocks, one behind the other, that came from a partner under
// the zone master key, and holds their check values against those that came with them. It
// is for who keeps no keystore: nothing is remembered, and so nothing is known again.
func ZoneKeysOf(z Zone, master *Key, blocks, checks []byte) (ZoneKeys, error) {
	imported, err := openZoneBlocks(master, blocks, checks)
	if err != nil {
		return ZoneKeys{}, err
	}
	var keys ZoneKeys
	for _, key := range imported {
		into, name := &keys.MAC, z.MAC()
		if key.usage == ZonePIN {
			into, name = &keys.PIN, z.PIN()
		}
		info := KeyInfo{Name: name, Version: 1, Usage: key.usage, Algorithm: key.algorithm, State: KeyActive, Bound: key.bound}
		if *into, err = newKey(info, key.secret()); err != nil {
			return ZoneKeys{}, err
		}
	}
	return keys, nil
}

// openZoneBlocks opens key blocks: one key for MACs, one for PINs, or one of both.
func openZoneBlocks(master *Key, blocks, checks []byte) ([]*Imported, error) {
	if _, err := master.open(ZoneMaster); err != nil {
		return nil, err
	}
	var all []*Imported
	for rest := blocks; len(rest) > 0; {
		if len(rest) < keyBlockHead {
			return nil, fmt.Errorf("%w: %d characters behind the last key block", ErrZoneKeys, len(rest))
		}
		n, err := strconv.ParseUint(string(rest[1:5]), 10, 16)
		if err != nil || n < keyBlockHead || int(n) > len(rest) {
			return nil, fmt.Errorf("%w: key block %d says that it has %q characters, and there are %d", ErrZoneKeys, len(all)+1, rest[1:5], len(rest))
		}
		key, err := OpenKeyBlock(rest[:n], master)
		if err != nil {
			return nil, fmt.Errorf("%w: key block %d: %w", ErrZoneKeys, len(all)+1, err)
		}
		if key.usage != ZoneMAC && key.usage != ZonePIN {
			return nil, fmt.Errorf("%w: key block %d holds a key for %v; want zone-mac and zone-pin", ErrZoneKeys, len(all)+1, key.usage)
		}
		if len(all) == 2 || len(all) == 1 && all[0].usage == key.usage {
			return nil, fmt.Errorf("%w: want one key for MACs and one for PINs at most", ErrZoneKeys)
		}
		all, rest = append(all, key), rest[n:]
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: there is no key block", ErrZoneKeys)
	}
	var found []byte
	for _, key := range all {
		found = append(found, key.check.String()...)
	}
	if !bytes.EqualFold(found, checks) {
		return nil, fmt.Errorf("%w: the check values of the keys are %s, and %q came with them", ErrZoneKeys, found, checks)
	}
	if len(all) == 2 && all[0].check == all[1].check {
		return nil, fmt.Errorf("%w: one key for MACs and PINs alike", ErrZoneKeys)
	}
	return all, nil
}

// TakeZoneKeys puts the keys in force that a partner has sent, and returns them; the one
// for MACs must do for by. A key that was here before is refused: who has it may be anybody
// by now.
func (s *Keystore) TakeZoneKeys(z Zone, by MACAlgorithm, blocks, checks []byte, now points.Timestamp) (taken ZoneKeys, err error) {
	err = s.Update(func(c *Changes) error {
		taken = ZoneKeys{}
		master, err := c.ring.use(z.Master(), ZoneMaster, now)
		if err != nil {
			return err
		}
		imported, err := openZoneBlocks(master, blocks, checks)
		if err != nil {
			return err
		}
		from := c.zoneFrom(z, now)
		for _, key := range imported {
			into, name := &taken.MAC, z.MAC()
			if key.usage == ZonePIN {
				into, name = &taken.PIN, z.PIN()
			}
			if err := c.unknown(z, key); err != nil {
				return err
			}
			want := NewKey{Name: name, Usage: key.usage, Algorithm: key.algorithm, From: from}
			if *into, err = c.addZone(want, func(info KeyInfo) (*Key, error) { return c.add(info, key) }); err != nil {
				return err
			}
		}
		if taken.MAC == nil {
			return nil
		}
		if _, err := NewMAC(taken.MAC, by); err != nil {
			return fmt.Errorf("%w: %w", ErrZoneKeys, err)
		}
		return nil
	})
	return taken, err
}

// OfferZoneKeys draws keys for a partner, a MAC key of algorithm and a PIN key of it, or of
// AES-256 beside one for HMAC, where pin says so, and returns them as key blocks with their check values. They are in force
// when [Keystore.ConfirmZoneKeys] says so. Keys that are on offer already are sent again:
// whoever asks often has not more of them for it.
func (s *Keystore) OfferZoneKeys(z Zone, algorithm Algorithm, pin bool, now points.Timestamp) (blocks, checks string, err error) {
	var offer ZoneKeys
	err = s.Update(func(c *Changes) error {
		master, err := c.ring.use(z.Master(), ZoneMaster, now)
		if err != nil {
			return err
		}
		var never points.Timestamp
		_, _, offer.MAC, _ = c.ring.zone(z.MAC(), ZoneMAC, now, &never)
		_, _, offer.PIN, _ = c.ring.zone(z.PIN(), ZonePIN, now, &never)
		if offer.MAC == nil {
			want := NewKey{Name: z.MAC(), Usage: ZoneMAC, Algorithm: algorithm, From: onOffer}
			if offer.MAC, err = c.addZone(want, c.draw); err != nil {
				return err
			}
		}
		if offer.PIN == nil && pin {
			want := NewKey{Name: z.PIN(), Usage: ZonePIN, Algorithm: algorithm, From: onOffer}
			if algorithm == HMACSHA256 {
				want.Algorithm = AES256
			}
			if offer.PIN, err = c.addZone(want, c.draw); err != nil {
				return err
			}
		}
		blocks, err = AppendZoneBlocks(offer, master, s.random)
		return err
	})
	return blocks, offer.Checks(), err
}

// AppendZoneBlocks writes keys as key blocks under a zone master key, one behind the other.
func AppendZoneBlocks(keys ZoneKeys, master *Key, random io.Reader) (string, error) {
	var blocks []byte
	for _, key := range []*Key{keys.MAC, keys.PIN} {
		if key == nil {
			continue
		}
		var err error
		if blocks, err = AppendKeyBlock(blocks, key, master, random); err != nil {
			return "", err
		}
	}
	return string(blocks), nil
}

// ConfirmZoneKeys puts the keys in force that are on offer to a partner and whose check
// values are checks.
func (s *Keystore) ConfirmZoneKeys(z Zone, checks string, now points.Timestamp) error {
	return s.Update(func(c *Changes) error {
		var never points.Timestamp
		var offer ZoneKeys
		_, _, offer.MAC, _ = c.ring.zone(z.MAC(), ZoneMAC, now, &never)
		_, _, offer.PIN, _ = c.ring.zone(z.PIN(), ZonePIN, now, &never)
		if offer == (ZoneKeys{}) || offer.Checks() != checks {
			return fmt.Errorf("%w: keys with the check values %q are not on offer to %v", ErrZoneKeys, checks, z)
		}
		from := c.zoneFrom(z, now)
		for _, key := range []*Key{offer.MAC, offer.PIN} {
			if key == nil {
				continue
			}
			versions := slices.Clone(c.ring.keys[key.Name])
			for i, other := range versions {
				ended := *other
				switch {
				case other == key:
					ended.From, ended.Until = from, 0
				case other.State == KeyActive && (other.Until == 0 || other.Until > from):
					ended.Until = from
				}
				versions[i] = &ended
			}
			c.ring.keys[key.Name] = versions
		}
		return nil
	})
}

// zoneFrom is when keys that come now are in force: later than those that are.
func (c *Changes) zoneFrom(z Zone, now points.Timestamp) points.Timestamp {
	for _, name := range []string{z.MAC(), z.PIN()} {
		for _, key := range c.ring.keys[name] {
			if key.From != onOffer && key.State == KeyActive {
				now = max(now, key.From+1)
			}
		}
	}
	return now
}

// unknown refuses a key that was here before, for MACs or for PINs.
func (c *Changes) unknown(z Zone, key *Imported) error {
	for _, name := range []string{z.MAC(), z.PIN()} {
		for _, known := range c.ring.keys[name] {
			if known.Check == key.check { // Of 16 million others one has it too, and is refused with it.
				return fmt.Errorf("%w: %v has been here before; send a new key", ErrZoneKeys, known)
			}
		}
	}
	return nil
}

// addZone adds the next version of a key with a partner. What was on offer is withdrawn,
// and of the others only the one in force stays.
func (c *Changes) addZone(want NewKey, add func(KeyInfo) (*Key, error)) (*Key, error) {
	if len(c.ring.keys[want.Name]) == 0 {
		if err := c.free(want); err != nil {
			return nil, err
		}
		return add(want.info(1))
	}
	versions := slices.Clone(c.ring.keys[want.Name])
	kept := false
	for i, key := range slices.Backward(versions) {
		if key.State == KeyDestroyed {
			continue
		}
		ended := *key
		switch {
		case key.From == onOffer || kept:
			ended.State, ended.secret = KeyDestroyed, nil
			versions[i] = &ended
		case want.From != onOffer && (key.Until == 0 || key.Until > want.From):
			ended.Until = want.From
			versions[i] = &ended
		}
		kept = kept || key.From != onOffer
	}
	c.ring.keys[want.Name] = versions
	last := versions[len(versions)-1]
	if last.Usage != want.Usage {
		return nil, fmt.Errorf("keystore: %v is for %v, not for %v", last, last.Usage, want.Usage)
	}
	return add(want.info(last.Version + 1))
}
