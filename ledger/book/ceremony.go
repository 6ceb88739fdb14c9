package book

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
)

// KeyAct is what a ceremony does with a key. The numbers are written in the journal:
// never renumber, only append.
type KeyAct uint8

// Acts on a key.
const (
	KeyGenerate KeyAct = iota + 1
	KeyImport
	KeyRotate  // the next version of a key, drawn
	KeyReplace // the next version, from outside
	KeyRetire
	KeyDestroy
	KeyExport
	KeyOffer // the next version of a terminal's master key, which the terminal fetches
	KeyTake  // that one is in force: the terminal has proved that it has it

	keyActCount
)

var keyActNames = [keyActCount]string{
	KeyGenerate: "generate", KeyImport: "import", KeyRotate: "rotate", KeyReplace: "replace",
	KeyRetire: "retire", KeyDestroy: "destroy", KeyExport: "export", KeyOffer: "offer", KeyTake: "take",
}

// String returns the name used in tables and in JSON.
func (a KeyAct) String() string { return nameAt(keyActNames[:], uint8(a), "key act") }

// MarshalText renders the name.
func (a KeyAct) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name.
func (a *KeyAct) UnmarshalText(text []byte) error {
	at, err := nameIndex(keyActNames[:], text, "act on a key")
	*a = KeyAct(at)
	return err
}

// Makes reports whether the act brings a key that was not there.
func (a KeyAct) Makes() bool {
	switch a {
	case KeyGenerate, KeyImport, KeyRotate, KeyReplace, KeyOffer:
		return true
	default:
		return false
	}
}

// Keystore tells one content of a keystore from every other.
type Keystore struct {
	Generation uint64
	Digest     [16]byte
	// Exchanged is the digest of what partners and the switch have sent each other, which is
	// not in Digest; zero: nobody has looked, as before it was written.
	Exchanged [16]byte
}

// Is reports whether a keystore that was found is the one that is known: where it is not
// known what was exchanged with partners, that may be anything.
func (k Keystore) Is(found Keystore) bool {
	if k.Exchanged == [16]byte{} {
		found.Exchanged = k.Exchanged
	}
	return k == found
}

// Ceremony is what is done with one version of a key, complete enough for a second person
// to decide, and the keystore that it leaves behind. The key is never in it.
type Ceremony struct {
	Act         KeyAct
	Key         string // its name
	Version     uint32
	Usage       string
	Algorithm   string
	Under       string // export: the name of the master key
	Check       [3]byte
	Fingerprint [16]byte // of the key: one way, and longer than the check value
	// Keystore is what is in force afterwards; zero: what was.
	Keystore Keystore
}

// Bounds of a ceremony's words.
const (
	maxKeyName  = 64
	maxKeyWords = 32
)

// KeystoreView is what the journal knows of the keystore.
//
//	       note, approval or KindKeystore            the file is written
//	known ────────────────────────────────> known, ─────────────────────> known
//	                                        perhaps not written
//
// The record comes first and the file afterwards. So a start that finds the file as it
// was before the last record carries out what that record says, and one that finds any
// other refuses it.
type KeystoreView struct {
	Is   Keystore
	Was  Keystore        // before Last
	Last points.Position // of the ceremony that has left it; 0: it was noted as it stood
}

// follows reports whether a keystore may come after the one that is known: its
// generations only grow (I23). None is one that stays.
func (v *KeystoreView) follows(k Keystore) bool {
	return k == (Keystore{}) || k.Generation > v.Is.Generation
}

// leaveKeystore remembers the keystore that a ceremony leaves behind.
func (b *Book) leaveKeystore(cmd *Command) {
	if k := cmd.Ceremony.Keystore; k != (Keystore{}) {
		b.touch(&b.office)
		was := b.office.keys.Is
		was.Exchanged = [16]byte{} // A start that finds it carries the ceremony out again, whatever was exchanged.
		b.office.keys = KeystoreView{Is: k, Was: was, Last: b.position + 1}
	}
}

// keystore notes the keystore that the switch has found. An older one is taken only where
// whoever owns the configuration has said so, which is Final.
func (b *Book) keystore(cmd *Command) (points.Reason, error) {
	k := cmd.Ceremony.Keystore
	switch {
	case k.Generation == 0:
		return points.FormatError, nil
	case cmd.Ceremony.Act == KeyTake:
		return b.takeMaster(cmd)
	case !cmd.Final && !b.office.keys.follows(k) && (k == b.office.keys.Is || !b.office.keys.Is.Is(k)): // It may tell more of the same.
		return points.NotPermitted, nil
	}
	b.touch(&b.office)
	b.office.keys = KeystoreView{Is: k}
	return points.Approved, nil
}

// takeMaster lets the keystore say what the terminal's last proof has decided: which
// version of its master key is in force.
func (b *Book) takeMaster(cmd *Command) (points.Reason, error) {
	keys, err := b.Keys(cmd.Acquirer, cmd.Merchant, cmd.Terminal)
	switch {
	case err != nil:
		return 0, err
	case cmd.Final || !b.office.keys.follows(cmd.Ceremony.Keystore) || cmd.Ceremony.Version == 0 || cmd.Ceremony.Version > keys.Master:
		return points.NotPermitted, nil
	}
	b.leaveKeystore(cmd)
	return points.Approved, nil
}

// Keystore returns what the journal knows of the keystore; zero before the first was noted.
func (b *Book) Keystore() KeystoreView { return b.office.keys }

// malformed tells what keeps the ceremony of a command of kind from being read back.
func (c *Ceremony) malformed(kind Kind) error {
	switch {
	case *c == Ceremony{}:
		return nil
	case kind != KindNote && kind != KindApprove && kind != KindKeystore:
		return points.Errorf(points.FormatError, "a ceremony in a command of kind %v", kind)
	case c.Act >= keyActCount:
		return points.Errorf(points.FormatError, "act %d on a key: there is none", c.Act)
	case kind == KindNote && c.Act == KeyTake:
		return points.Errorf(points.FormatError, "that a terminal has taken a key is noted by the switch alone")
	case kind == KindKeystore && c.Act == KeyTake:
	case kind != KindNote && *c != Ceremony{Keystore: c.Keystore}:
		return points.Errorf(points.FormatError, "a command of kind %v with an act on a key", kind)
	}
	if err := longest(maxKeyName, text{"key", c.Key}, text{"under", c.Under}); err != nil {
		return err
	}
	return longest(maxKeyWords, text{"usage", c.Usage}, text{"algorithm", c.Algorithm})
}

// ceremonyExchanged is set in the act of a ceremony whose keystore has Exchanged, at the end.
const ceremonyExchanged = 0x80

func appendCeremony(dst []byte, c *Ceremony) []byte {
	exchanged := c.Keystore.Exchanged != [16]byte{}
	act := byte(c.Act)
	if exchanged {
		act |= ceremonyExchanged
	}
	dst = append(dst, act)
	dst = appendText(appendText(appendText(appendText(dst, c.Key), c.Usage), c.Algorithm), c.Under)
	dst = binary.AppendUvarint(dst, uint64(c.Version))
	dst = append(append(dst, c.Check[:]...), c.Fingerprint[:]...)
	if dst = appendMark(dst, c.Keystore); exchanged {
		dst = append(dst, c.Keystore.Exchanged[:]...)
	}
	return dst
}

func decodeCeremony(r *reader) (c Ceremony) {
	act := r.byte()
	c.Act = KeyAct(act &^ ceremonyExchanged)
	c.Key, c.Usage, c.Algorithm, c.Under = r.text(maxKeyName), r.text(maxKeyWords), r.text(maxKeyWords), r.text(maxKeyName)
	c.Version = r.uint32()
	r.fixed(c.Check[:])
	r.fixed(c.Fingerprint[:])
	c.Keystore = decodeMark(r)
	if act&ceremonyExchanged != 0 {
		decodeExchanged(r, &c.Keystore)
	}
	return c
}

// decodeExchanged reads what is written only where it is something.
func decodeExchanged(r *reader, k *Keystore) {
	if r.fixed(k.Exchanged[:]); k.Exchanged == [16]byte{} {
		r.fail()
	}
}

// appendMark leaves out what was exchanged with partners: each has it elsewhere.
func appendMark(dst []byte, k Keystore) []byte {
	return append(binary.AppendUvarint(dst, k.Generation), k.Digest[:]...)
}

func decodeMark(r *reader) (k Keystore) {
	k.Generation = r.uvarint()
	r.fixed(k.Digest[:])
	return k
}

func appendKeystore(dst []byte, v *KeystoreView) []byte {
	dst = appendMark(appendMark(dst, v.Is), v.Was)
	return binary.AppendUvarint(dst, uint64(v.Last))
}

func decodeKeystore(r *reader) KeystoreView {
	v := KeystoreView{Is: decodeMark(r), Was: decodeMark(r), Last: r.position()}
	if v.Is.Generation == 0 && (v != KeystoreView{} || len(r.src) == 0) { // none, with a register behind it
		r.fail()
	}
	return v
}
