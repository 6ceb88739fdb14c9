package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// ErrKeystore says that the keystore is not the one that the journal knows of.
var ErrKeystore = errors.New("keystore: not the one that the journal knows of")

// errRedo says that the last ceremony in the journal has not reached the file.
var errRedo = errors.New("keystore: the last ceremony is to be carried out again")

// markOf is a keystore's mark as the book keeps it.
func markOf(m certs.Mark) book.Keystore {
	return book.Keystore{Generation: m.Generation, Digest: m.Digest, Exchanged: m.Exchanged}
}

// account holds a content of the keystore against what the journal knows, and notes it
// there where it may be. What it refuses serves nobody.
//
//	as the journal says                              taken
//	as before the last ceremony                      errRedo: it is carried out again
//	older, or a copy that went another way           refused, also where only what was
//	                                                 exchanged with partners differs
//	newer, other keys, a second person is needed     refused
//	newer, other keys, none is needed                noted: changed outside the switch
//	newer, the same keys                             noted
//
// keys.accept of the configuration names one generation that is taken all the same, and
// the journal says so: a house whose newest copy is lost has to be able to start.
func (a *App) account(ctx context.Context, m certs.Mark) error {
	var known book.KeystoreView
	var two bool
	err := a.ledger.View(ctx, func(b *book.Book) error {
		known = b.Keystore()
		two = len(b.Registry().Operators) > 0 && b.Registry().Policy.TwoPersons.Has(book.ActKeys)
		return nil
	})
	if err != nil {
		return err
	}
	is := markOf(m)
	note := book.Command{Kind: book.KindKeystore, At: a.opts.Clock(), Ceremony: book.Ceremony{Keystore: is}}
	switch file := a.opts.Config.Keys.File; {
	case is == known.Is:
		return nil
	case known.Is.Generation != 0 && known.Is.Is(is):
		note.Note = "with the keys exchanged with partners" // A journal from before they were looked at.
	case known.Last != 0 && known.Was.Is(is):
		return errRedo
	case a.opts.Config.Keys.Accept != 0 && uint64(a.opts.Config.Keys.Accept) == is.Generation: //nolint:gosec // not negative.
		note.Final, note.Note = true, "accepted by keys.accept"
		a.log.Warn("a keystore is taken that the journal does not know of, as keys.accept says", slog.Uint64("generation", is.Generation), slog.Uint64("known", known.Is.Generation))
	case is.Generation < known.Is.Generation || (is.Generation == known.Is.Generation && is != known.Is):
		return fmt.Errorf("%w: %s is of generation %d, and the journal knows generation %d, of another content%s; put the newest copy back, or, where it is lost, name this one with keys.accept: %d", ErrKeystore, file, is.Generation, known.Is.Generation, onlyExchanged(is, known.Is), is.Generation)
	case known.Is.Generation == 0:
		note.Note = "first seen"
	case is.Digest == known.Is.Digest && is.Exchanged == known.Is.Exchanged:
		note.Note = "the same keys"
	case is.Digest == known.Is.Digest:
		note.Note = "keys exchanged with partners"
	case two:
		return fmt.Errorf("%w: the keys in %s, of generation %d, were changed outside the switch, and to change them needs a second person; put the copy of generation %d back and make the change while the switch runs (lianfen keys), or take it on your own responsibility with keys.accept: %d", ErrKeystore, file, is.Generation, known.Is.Generation, is.Generation)
	default:
		note.Note = "changed outside the switch"
		// Nobody asked for two persons: that is how keys are made then.
		a.log.Info("the keystore was changed outside the switch; the journal says so from here on", slog.Uint64("generation", is.Generation))
	}
	out, err := a.ledger.Do(ctx, &note)
	if err == nil && !out.Reason.Approved() {
		err = a.refusal(ctx, "keystore", &note, out.Reason)
	}
	return err
}

// onlyExchanged says where two contents of one generation differ in no more than that.
func onlyExchanged(is, known book.Keystore) string {
	if is.Generation != known.Generation || is.Digest != known.Digest {
		return ""
	}
	return " in what was exchanged with partners (zak, zpk)"
}

// accountKeys holds the keystore against the journal at the start, and carries out what
// the journal says was decided and the file does not have.
func (a *App) accountKeys(ctx context.Context) error {
	if a.keystore == nil {
		return nil
	}
	if err := a.settleKeys(ctx); err != nil {
		return err
	}
	operators, err := a.registryOperators(ctx)
	if err != nil || len(operators) == 0 {
		return err
	}
	return a.governKeys()
}

// notePause is the time between two looks whether partners have exchanged keys.
const notePause = time.Second

// noteKeys has the journal know of the generations that exchanges of keys with partners
// leave behind, so that a copy from before them is refused at a start as any older one is.
func (a *App) noteKeys(ctx context.Context) error {
	if a.keystore == nil {
		return nil
	}
	tick := time.NewTicker(notePause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.noteExchanges(ctx)
		}
	}
}

// noteExchanges notes the keystore as this process has it, where the journal does not know
// it, and which master keys terminals have taken.
func (a *App) noteExchanges(ctx context.Context) {
	if a.keystore == nil {
		return
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if err := a.takeMasters(ctx); err != nil && ctx.Err() == nil {
		a.log.Error("the keystore does not say which master keys terminals have taken", slog.String("error", err.Error()))
	}
	if a.keysNoted.Load() == a.keystore.Generation() {
		return
	}
	mark := a.keystore.Mark()
	if err := a.account(ctx, mark); err != nil {
		a.log.Error("the journal does not know of the newest keystore", slog.Uint64("generation", mark.Generation), slog.String("error", err.Error()))
		return
	}
	a.keysNoted.Store(mark.Generation)
}

// settleKeys brings keystore and journal together.
func (a *App) settleKeys(ctx context.Context) error {
	_, err := a.keystore.Reload(func(certs.Mark) error { return nil })
	if err == nil {
		err = a.account(ctx, a.keystore.Mark())
	}
	if errors.Is(err, errRedo) {
		err = a.redo(ctx)
	}
	if err != nil {
		return err
	}
	return a.takeMasters(ctx)
}

// takenAtOnce bounds how many master keys are noted as taken in one go: each writes the
// keystore, and whoever changes keys waits meanwhile.
const takenAtOnce = 16

// takeMasters has the keystore say which master keys terminals have taken. That they are
// in force was decided by the record of the sign-on that has proved it; this follows, as
// a ceremony of its own, whenever the process gets to it.
func (a *App) takeMasters(ctx context.Context) error {
	taken := 0
	for _, key := range a.keystore.MastersOnOffer() {
		cmd := book.Command{
			Kind: book.KindKeystore, At: a.opts.Clock(), Note: "the terminal has signed on under it",
			Ceremony: book.Ceremony{
				Act: book.KeyTake, Key: key.Name, Version: key.Version, Usage: key.Usage.String(), Algorithm: key.Algorithm.String(),
				Check: key.Check, Fingerprint: key.Fingerprint(),
			},
		}
		proved, err := a.provedMaster(ctx, &cmd)
		if err != nil {
			return err
		}
		if proved < key.Version {
			continue
		}
		if _, err := a.hold(ctx, "keystore", &cmd, &cmd.Ceremony); err != nil {
			return err
		}
		if taken++; taken == takenAtOnce {
			return nil
		}
	}
	return nil
}

// provedMaster finds the terminal whose master key a ceremony is about, and which version
// of it that has proved to have; 0: none.
func (a *App) provedMaster(ctx context.Context, cmd *book.Command) (version uint32, err error) {
	rest := strings.TrimPrefix(cmd.Ceremony.Key, "tmk/")
	err = a.ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		for i := range rest {
			id, err := points.ParseTerminalID(rest[i+1:])
			if rest[i] != '/' || err != nil {
				continue
			}
			terminal := registry.Terminals[id]
			if terminal == nil || certs.TerminalMasterName(terminal.Merchant, id) != cmd.Ceremony.Key || registry.Merchants[terminal.Merchant] == nil {
				continue
			}
			cmd.Acquirer, cmd.Merchant, cmd.Terminal = registry.Merchants[terminal.Merchant].Acquirer, terminal.Merchant, id
			keys, err := b.Keys(cmd.Acquirer, cmd.Merchant, cmd.Terminal)
			version = keys.Master
			return err
		}
		return nil
	})
	return version, err
}

// redo carries out the last ceremony of the journal.
func (a *App) redo(ctx context.Context) error {
	var known book.KeystoreView
	err := a.ledger.View(ctx, func(b *book.Book) error {
		known = b.Keystore()
		return nil
	})
	if err != nil {
		return err
	}
	rec, err := a.ledger.Record(known.Last)
	if err != nil {
		return err
	}
	done := rec.Command.Carried().Ceremony
	err = a.keystore.Update(func(c *certs.Changes) error {
		if err := carryOut(c, &done, rec.Command.At); err != nil {
			return err
		}
		if is := markOf(c.Mark()); !known.Is.Is(is) {
			return fmt.Errorf("%w: %v of %s, decided under RRN %s, gives another content than it was to give; put the newest copy of %s back", ErrKeystore, done.Act, done.Key, rrnOf(known.Last), a.keystore.Path())
		}
		return nil
	})
	if err == nil {
		a.log.Info("a key ceremony was carried out that the process had not ended", slog.String("rrn", rrnOf(known.Last)))
	}
	return err
}

// carryOut does with a key what was decided at now. The same input gives the same content.
func carryOut(c *certs.Changes, what *book.Ceremony, now points.Timestamp) error {
	var key *certs.Key
	var err error
	switch {
	case what.Act.Makes():
		if key, err = c.Pending(what.Key); err == nil && key.Fingerprint() != what.Fingerprint {
			return points.Errorf(points.ProposalStale, "%s/%d: another key waits under that name than the one that was proposed; reject this", what.Key, what.Version)
		}
		if err == nil {
			_, err = c.Confirm(what.Key, now)
		}
	case what.Act == book.KeyRetire:
		_, err = c.Retire(what.Key, what.Version)
	case what.Act == book.KeyTake:
		_, err = c.Take(what.Key, what.Version, now)
	case what.Act == book.KeyDestroy:
		_, err = c.Destroy(what.Key, what.Version)
	}
	if err != nil {
		return points.Errorf(points.NotPermitted, "%w", err)
	}
	return nil
}

// governKeys leaves word beside the keystore that its changes are acts of operators, and
// where: the commands that change the file heed it. It is no lock; who goes around it is
// found at the next start.
func (a *App) governKeys() error {
	if a.keystore == nil {
		return nil
	}
	if err := os.WriteFile(GovernedBy(a.keystore.Path()), []byte(a.opts.Config.Admin.Socket+"\n"), 0o600); err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	return nil
}

// GovernedBy is the file beside a keystore that names the socket of the switch whose
// operators change it.
func GovernedBy(keystore string) string { return keystore + ".governed" }

// KeyChange is a key ceremony that is asked for.
type KeyChange struct {
	Act       book.KeyAct      `json:"act"`
	Name      string           `json:"name"`
	Version   uint32           `json:"version,omitempty"` // retire, destroy, export: 0 is the newest
	Usage     string           `json:"usage,omitempty"`
	Algorithm string           `json:"algorithm,omitempty"`
	From      points.Timestamp `json:"from,omitempty"`
	Until     points.Timestamp `json:"until,omitempty"`
	// Block is a key block under the key Under. To import without one takes what waits
	// in the keystore, where components were typed.
	Block string `json:"block,omitempty"`
	Under string `json:"under,omitempty"`
	KCV   string `json:"kcv,omitempty"` // that an imported key must have
	Note  string `json:"note,omitempty"`
}

// KeyChanged is what came of it.
type KeyChanged struct {
	Done
	Key   certs.KeyInfo `json:"key"`
	Block string        `json:"block,omitempty"` // export
}

// exportTime is how long what was approved may be fetched.
const exportTime = time.Hour

// changeKey carries out a key ceremony, or proposes it. A key that is made waits in the
// keystore and serves nothing until it was decided, so that what is decided on is one key.
func (a *App) changeKey(ctx context.Context, change KeyChange) (KeyChanged, error) {
	if a.keystore == nil {
		return KeyChanged{}, points.Errorf(points.FunctionDisabled, "keys: this switch has no keystore; name one: keys.file")
	}
	name := who(ctx).Name
	if name == "" {
		return KeyChanged{}, points.Errorf(points.FunctionDisabled, "keys: no operator is enrolled: change the file with lianfen keys, then lianfen admin reload")
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if err := a.settleKeys(ctx); err != nil {
		return KeyChanged{}, err
	}
	if err := a.unclaimed(ctx, &change); err != nil {
		return KeyChanged{}, err
	}
	key, err := a.prepare(&change)
	if err != nil {
		return KeyChanged{}, points.Errorf(points.FormatError, "keys: %w", err)
	}
	if err := a.settleKeys(ctx); err != nil { // What waits is a generation of its own.
		return KeyChanged{}, err
	}
	cmd := book.Command{
		Kind: book.KindNote, At: a.opts.Clock(), Operator: name, Act: book.ActKeys, Note: strings.TrimSpace(change.Act.String() + " " + change.Name + " " + change.Note),
		Ceremony: book.Ceremony{
			Act: change.Act, Key: key.Name, Version: key.Version, Usage: key.Usage.String(), Algorithm: key.Algorithm.String(), Under: change.Under,
			Check: key.Check, Fingerprint: key.Fingerprint(),
		},
	}
	if change.Act != book.KeyExport {
		cmd.Ceremony.Under = ""
	}
	result := KeyChanged{Key: key.KeyInfo}
	done, proposed, err := a.propose(ctx, "keys", &cmd)
	switch {
	case err != nil:
	case proposed:
		result.Done = done
		return result, nil
	default:
		result.Done, err = a.hold(ctx, "keys", &cmd, &cmd.Ceremony)
	}
	if err != nil {
		return KeyChanged{}, errors.Join(err, a.dropPending(ctx, &cmd.Ceremony))
	}
	if change.Act == book.KeyExport {
		result.Block, err = a.exported(&cmd.Ceremony)
		return result, err
	}
	if is, err := a.keystore.Key(key.Name, key.Version); err == nil {
		result.Key = is.KeyInfo
	}
	return result, nil
}

// prepare makes the key that is asked for wait, or finds the one that is to be ended or
// exported.
func (a *App) prepare(change *KeyChange) (key *certs.Key, err error) {
	if !change.Act.Makes() {
		if key, err = a.keystore.Key(change.Name, change.Version); err != nil || change.Act != book.KeyExport {
			return key, err
		}
		_, err = a.blockOf(key, change.Under)
		return key, err
	}
	from := max(change.From, a.opts.Clock())
	if (change.Act == book.KeyImport || change.Act == book.KeyReplace) && change.Block == "" {
		return a.keystore.Pending(change.Name)
	}
	var imported *certs.Imported
	if change.Block != "" {
		master, err := a.keystore.Key(change.Under, 0)
		if err == nil {
			err = master.InForce(a.opts.Clock(), true)
		}
		if err == nil {
			imported, err = certs.OpenKeyBlock([]byte(strings.TrimSpace(change.Block)), master)
		}
		if err != nil {
			return nil, err
		}
		if change.KCV != "" && !strings.EqualFold(change.KCV, imported.Check().String()) {
			return nil, fmt.Errorf("the check value is %v, not %s", imported.Check(), points.Escaped(change.KCV))
		}
	}
	want := certs.NewKey{Name: change.Name, From: from, Until: change.Until}
	if change.Act == book.KeyGenerate || change.Act == book.KeyImport {
		if want.Usage, err = certs.ParseUsage(change.Usage); err != nil {
			return nil, err
		}
		if want.Algorithm, err = certs.ParseAlgorithm(change.Algorithm); err != nil {
			return nil, err
		}
	}
	err = a.keystore.Update(func(c *certs.Changes) (err error) {
		c.Stage()
		switch change.Act {
		case book.KeyGenerate:
			key, err = c.Generate(want)
		case book.KeyImport:
			key, err = c.Import(want, imported)
		case book.KeyRotate:
			key, err = c.Rotate(change.Name, from)
		case book.KeyOffer:
			key, err = c.Offer(change.Name)
		default:
			key, err = c.Replace(change.Name, imported, from)
		}
		return err
	})
	return key, err
}

// hold holds a ceremony: cmd, a note or an approval, is in the journal with the keystore
// that the ceremony leaves behind before that is written. What ends the process between
// the two is made good at the next start, or before the next ceremony.
func (a *App) hold(ctx context.Context, what string, cmd *book.Command, ceremony *book.Ceremony) (done Done, err error) {
	decide := func() error {
		out, err := a.ledger.Do(ctx, cmd)
		switch {
		case err != nil || out.Reason.Approved():
		case cmd.Kind == book.KindApprove:
			err = a.undecided(ctx, what, cmd, &cmd.Group[0], out.Reason)
		default:
			err = a.refusal(ctx, what, cmd, out.Reason)
		}
		done = Done{RRN: rrnOf(out.Position), Date: out.Date}
		return err
	}
	if ceremony.Act == book.KeyExport {
		return done, decide()
	}
	err = a.keystore.Update(func(c *certs.Changes) error {
		if err := a.account(ctx, c.Was()); err != nil {
			return err
		}
		if err := carryOut(c, ceremony, cmd.At); err != nil {
			return err
		}
		cmd.Ceremony.Keystore = markOf(c.Mark())
		return decide()
	})
	if err != nil {
		return Done{}, err
	}
	a.log.Info("key ceremony", slog.String("act", ceremony.Act.String()), slog.String("key", ceremony.Key), slog.Uint64("version", uint64(ceremony.Version)), slog.String("rrn", done.RRN))
	return done, nil
}

// approveKeys approves a key ceremony.
func (a *App) approveKeys(ctx context.Context, what string, cmd *book.Command) (Done, error) {
	if a.keystore == nil {
		return Done{}, points.Errorf(points.FunctionDisabled, "%s: this switch has no keystore", what)
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if err := a.settleKeys(ctx); err != nil {
		return Done{}, err
	}
	return a.hold(ctx, what, cmd, &cmd.Group[0].Ceremony)
}

// awaited is the proposal that a key in the keystore waits for; 0: none does.
func (a *App) awaited(ctx context.Context, key *certs.Key) (position points.Position, err error) {
	now := a.opts.Clock()
	err = a.ledger.View(ctx, func(b *book.Book) error {
		for _, p := range b.Proposals() {
			c := &p.Act.Ceremony
			if p.Until > now && c.Act.Makes() && c.Key == key.Name && c.Fingerprint == key.Fingerprint() {
				position = p.Position
			}
		}
		return nil
	})
	return position, err
}

// unclaimed refuses to make another key under a name under which one waits for a proposal:
// that would undo the proposal without anybody having rejected it.
func (a *App) unclaimed(ctx context.Context, change *KeyChange) error {
	if !change.Act.Makes() || ((change.Act == book.KeyImport || change.Act == book.KeyReplace) && change.Block == "") {
		return nil // What waits is taken as it is.
	}
	key, err := a.keystore.Pending(change.Name)
	if err != nil {
		return nil //nolint:nilerr // none waits.
	}
	position, err := a.awaited(ctx, key)
	if err == nil && position != 0 {
		err = points.Errorf(points.NotPermitted, "keys: a key waits under the name %s for what %s proposes; have that approved or rejected first", points.Escaped(change.Name), rrnOf(position))
	}
	return err
}

// dropPending forgets the key that waits for a ceremony that is not held, unless another
// proposal is about the same key.
func (a *App) dropPending(ctx context.Context, ceremony *book.Ceremony) error {
	if a.keystore == nil || !ceremony.Act.Makes() {
		return nil
	}
	key, err := a.keystore.Pending(ceremony.Key)
	if err != nil || key.Fingerprint() != ceremony.Fingerprint {
		return nil //nolint:nilerr // none waits, or another one.
	}
	if position, err := a.awaited(ctx, key); err != nil || position != 0 {
		return err
	}
	if err := a.keystore.Update(func(c *certs.Changes) error { c.Drop(ceremony.Key); return nil }); err != nil {
		return err
	}
	return a.settleKeys(ctx)
}

// exported is the key block of an export that was decided.
func (a *App) exported(ceremony *book.Ceremony) (string, error) {
	key, err := a.keystore.Key(ceremony.Key, ceremony.Version)
	if err != nil {
		return "", points.Errorf(points.NotPermitted, "keys: %w", err)
	}
	if key.Fingerprint() != ceremony.Fingerprint {
		return "", points.Errorf(points.ProposalStale, "keys: %v is another key by now", key)
	}
	block, err := a.blockOf(key, ceremony.Under)
	if err != nil {
		return "", points.Errorf(points.NotPermitted, "keys: %w", err)
	}
	return block, nil
}

// blockOf is a key as a key block under the master key called under.
func (a *App) blockOf(key *certs.Key, under string) (string, error) {
	master, err := a.keystore.Key(under, 0)
	if err != nil {
		return "", err
	}
	for _, k := range []*certs.Key{key, master} {
		if err := k.InForce(a.opts.Clock(), k == key); err != nil {
			return "", err
		}
	}
	block, err := certs.AppendKeyBlock(nil, key, master, rand.Reader)
	return string(block), err
}

// fetchKey gives whoever has proposed an export its key block, once it was approved.
func (a *App) fetchKey(ctx context.Context, l Lookup) (KeyChanged, error) {
	if a.keystore == nil {
		return KeyChanged{}, points.Errorf(points.FunctionDisabled, "keys: this switch has no keystore")
	}
	rec, err := a.approvalOf(ctx, l.RRN, "an export", func(act *book.Command) bool { return act.Ceremony.Act == book.KeyExport })
	if err != nil {
		return KeyChanged{}, points.Errorf(points.ReasonOf(err), "keys: %w", err)
	}
	l.RRN = rrnOf(rec.Outcome.Position)
	act := rec.Command.Carried()
	switch {
	case act.Operator != who(ctx).Name:
		return KeyChanged{}, points.Errorf(points.NotPermitted, "keys: %s was proposed by %s, who alone may fetch it", l.RRN, act.Operator)
	case a.opts.Clock().Sub(rec.Outcome.Posted) > exportTime:
		return KeyChanged{}, points.Errorf(points.ProposalExpired, "keys: %s was approved more than %v ago; propose it again", l.RRN, exportTime)
	}
	note := book.Command{Kind: book.KindNote, At: a.opts.Clock(), Operator: who(ctx).Name, Act: book.ActHouse, Note: "fetch of the key exported under RRN " + l.RRN}
	done, err := a.do(ctx, "keys", &note)
	if err != nil {
		return KeyChanged{}, err
	}
	block, err := a.exported(&act.Ceremony)
	if err != nil {
		return KeyChanged{}, err
	}
	key, err := a.keystore.Key(act.Ceremony.Key, act.Ceremony.Version)
	if err != nil {
		return KeyChanged{}, points.Errorf(points.NotPermitted, "keys: %w", err)
	}
	return KeyChanged{Done: done, Key: key.KeyInfo, Block: block}, nil
}

// ceremonyInWords is a ceremony with all that an approver has to see.
func ceremonyInWords(c *book.Ceremony) string {
	text := fmt.Sprintf("%v key %s/%d, %s of %s, KCV %v, fingerprint %s", c.Act, c.Key, c.Version, c.Usage, c.Algorithm, certs.CheckValue(c.Check), hex.EncodeToString(c.Fingerprint[:]))
	if c.Under != "" {
		text += ", under " + c.Under
	}
	return text
}
