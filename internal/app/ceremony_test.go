package app_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// keyedHouse is a house whose switch has a keystore; open opens it as whoever has the file
// and its key-encryption key does.
func keyedHouse(t *testing.T) (h *house, open func() *certs.Keystore) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, certs.WriteKEK(filepath.Join(dir, "kek.key"), rand.Reader))
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek.key"), rand.Reader)
	require.NoError(t, err)
	path := filepath.Join(dir, "keys.store")
	store, err := certs.CreateKeystore(path, kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, store.Update(func(c *certs.Changes) error {
		for name, usage := range map[string]certs.Usage{"working": certs.WorkingDerivation, "pin-verification": certs.PINVerification} {
			if _, err := c.Generate(certs.NewKey{Name: name, Usage: usage, Algorithm: certs.AES256}); err != nil {
				return err
			}
		}
		return nil
	}))
	h = newHouse(t, "keys.file="+path, "keys.kek=file:"+filepath.Join(dir, "kek.key"))
	return h, func() *certs.Keystore {
		s, err := certs.OpenKeystore(path, kek, rand.Reader)
		require.NoError(t, err)
		return s
	}
}

// staffedHouse lets two people enrol, and has the policy ask for both for these acts. What
// is not what begins by itself is said before there are two.
func (r *running) staffedHouse(t *testing.T, acts book.Acts) (li, wang *person) {
	t.Helper()
	all := book.RoleAdmin | book.RoleOperator | book.RoleApprover
	li = r.enrol(t, r.client, "li", all)
	if acts != book.TwoPersons {
		_, err := li.client.PutPolicy(t.Context(), app.PolicyChange{})
		require.NoError(t, err)
	}
	wang = r.enrol(t, li.client, "wang", all)
	_, err := li.client.PutPolicy(t.Context(), app.PolicyChange{TwoPersons: acts})
	require.NoError(t, err)
	return li, wang
}

var newZone = app.KeyChange{Act: book.KeyGenerate, Name: "zone-bank", Usage: "zone-master", Algorithm: "aes-256", Note: "case 9"}

// A key that somebody makes serves nothing before somebody else has approved it; what is
// approved is the key that was proposed, the journal names both, and no record has it.
func TestKeyCeremonyTakesTwo(t *testing.T) {
	h, open := keyedHouse(t)
	r := h.start(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	ctx := t.Context()
	require.FileExists(t, app.GovernedBy(h.config.Keys.File))

	asked, err := li.client.ChangeKey(ctx, newZone)
	require.NoError(t, err)
	require.NotEmpty(t, asked.Pending)
	require.Equal(t, certs.KeyPending, asked.Key.State)
	_, err = open().Use("zone-bank", certs.ZoneMaster, now())
	require.ErrorIs(t, err, certs.ErrNoKey)
	_, err = li.client.ChangeKey(ctx, app.KeyChange{Act: book.KeyExport, Name: "zone-bank", Under: "zone-bank"})
	require.ErrorContains(t, err, `key "zone-bank" is pending: a second person has to compare its KCV and approve it first`)
	for _, version := range []uint32{0, 1} {
		_, err = open().Key("zone-bank", version)
		require.ErrorIs(t, err, certs.ErrNoKey)
		require.ErrorContains(t, err, `key "zone-bank" is pending`)
	}
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Contains(t, pending[0].What, "generate key zone-bank/1, zone-master of aes-256, KCV "+asked.Key.Check.String()+", fingerprint ")
	_, err = li.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	reasonIs(t, points.NeedsSecondPerson, err)
	_, err = open().Use("zone-bank", certs.ZoneMaster, now())
	require.Error(t, err, "a refused approval changes no file")
	approved, err := wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	key, err := open().Use("zone-bank", certs.ZoneMaster, now())
	require.NoError(t, err)
	require.Equal(t, asked.Key.Check, key.Check)
	detail, err := li.client.Detail(ctx, approved.RRN)
	require.NoError(t, err)
	require.Equal(t, []string{"wang", "li"}, []string{detail.Operator, detail.Proposed})
	require.Equal(t, book.ActKeys, detail.Act)

	// Another key slipped under the name that waits is not approved in its place.
	rotate := app.KeyChange{Act: book.KeyRotate, Name: "zone-bank"}
	asked, err = li.client.ChangeKey(ctx, rotate)
	require.NoError(t, err)
	require.NoError(t, open().Update(func(c *certs.Changes) error {
		c.Stage()
		_, err := c.Rotate("zone-bank", now())
		return err
	}))
	_, err = wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	reasonIs(t, points.ProposalStale, err)
	_, err = wang.client.Reject(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)

	// What is rejected leaves nothing that waits.
	asked, err = li.client.ChangeKey(ctx, rotate)
	require.NoError(t, err)
	_, err = wang.client.Reject(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	_, err = open().Pending("zone-bank")
	require.ErrorIs(t, err, certs.ErrNoKey)

	// An export is fetched by its proposer, after the approval only.
	_, err = li.client.ChangeKey(ctx, app.KeyChange{Act: book.KeyExport, Name: "working", Under: "zone-bank"})
	require.ErrorContains(t, err, "nobody else needs")
	asked, err = li.client.ChangeKey(ctx, app.KeyChange{Act: book.KeyGenerate, Name: "bank-pin", Usage: "zone-pin", Algorithm: "aes-128"})
	require.NoError(t, err)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	asked, err = li.client.ChangeKey(ctx, app.KeyChange{Act: book.KeyExport, Name: "bank-pin", Under: "zone-bank"})
	require.NoError(t, err)
	require.Empty(t, asked.Block)
	_, err = li.client.FetchKey(ctx, asked.RRN)
	reasonIs(t, points.NotPermitted, err)
	approved, err = wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	_, err = wang.client.FetchKey(ctx, approved.RRN)
	reasonIs(t, points.NotPermitted, err)
	fetched, err := li.client.FetchKey(ctx, approved.RRN)
	require.NoError(t, err)
	master, err := open().Key("zone-bank", 0)
	require.NoError(t, err)
	_, err = certs.OpenKeyBlock([]byte(fetched.Block), master)
	require.NoError(t, err)
	r.stop(t)
	h.start(t).stop(t)
}

// Where no second person is asked for, a ceremony is done at once and is in the journal.
func TestKeyCeremonyIsNoted(t *testing.T) {
	h, open := keyedHouse(t)
	r := h.start(t)
	_, err := r.client.ChangeKey(t.Context(), newZone)
	reasonIs(t, points.FunctionDisabled, err)
	li, _ := r.staffedHouse(t, 0)
	done, err := li.client.ChangeKey(t.Context(), newZone)
	require.NoError(t, err)
	require.Empty(t, done.Pending)
	require.Equal(t, certs.KeyActive, done.Key.State)
	_, err = open().Use("zone-bank", certs.ZoneMaster, now())
	require.NoError(t, err)
	detail, err := li.client.Detail(t.Context(), done.RRN)
	require.NoError(t, err)
	require.Equal(t, "li", detail.Operator)
	for _, act := range []book.KeyAct{book.KeyRetire, book.KeyDestroy} {
		_, err = li.client.ChangeKey(t.Context(), app.KeyChange{Act: act, Name: "zone-bank"})
		require.NoError(t, err)
	}
	_, err = li.client.ChangeKey(t.Context(), app.KeyChange{Act: book.KeyRetire, Name: "zone-bank"})
	require.ErrorContains(t, err, "is destroyed already")
	r.stop(t)
}

// A keystore that the journal does not know of serves nobody: neither an older copy, nor
// one that was changed outside the switch where the policy asks for two persons. That
// keys.accept names it is in the journal.
func TestKeystoreIsTheJournals(t *testing.T) {
	h, open := keyedHouse(t)
	path := h.config.Keys.File
	oldest, err := os.ReadFile(path)
	require.NoError(t, err)
	put := func(content []byte) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.Remove(path+".generation"))
		open() // writes none: the journal alone knows
	}
	r := h.start(t)
	li, _ := r.staffedHouse(t, 0)
	_, err = li.client.ChangeKey(t.Context(), newZone)
	require.NoError(t, err)
	newest, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = li.client.PutPolicy(t.Context(), app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)
	r.stop(t)

	put(oldest)
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrKeystore)
	require.ErrorContains(t, err, "keys.accept: 2")

	require.NoError(t, os.WriteFile(path, newest, 0o600))
	outside := func() {
		require.NoError(t, open().Update(func(c *certs.Changes) error {
			_, err := c.Retire("zone-bank", 0)
			return err
		}))
	}
	outside()
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrKeystore)
	require.ErrorContains(t, err, "changed outside the switch")

	h.config.Keys.Accept = int(open().Generation())
	r = h.start(t)
	require.Contains(t, h.log.String(), "as keys.accept says")
	r.stop(t)
	h.config.Keys.Accept = 0
	h.start(t).stop(t)
}

// What a crash leaves between the journal's record of a ceremony and the file is carried
// out at the next start, and gives the same keystore.
func TestKeyCeremonyAfterACrash(t *testing.T) {
	h, open := keyedHouse(t)
	path := h.config.Keys.File
	r := h.start(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	asked, err := li.client.ChangeKey(t.Context(), newZone)
	require.NoError(t, err)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	generation, err := os.ReadFile(path + ".generation")
	require.NoError(t, err)
	_, err = wang.client.Approve(t.Context(), app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	want := open().Mark()
	r.stop(t)

	require.NoError(t, os.WriteFile(path, before, 0o600))
	require.NoError(t, os.WriteFile(path+".generation", generation, 0o600))
	_, err = open().Use("zone-bank", certs.ZoneMaster, now())
	require.Error(t, err)
	r = h.start(t)
	require.Equal(t, want, open().Mark())
	require.Contains(t, h.log.String(), "a key ceremony was carried out that the process had not ended")
	r.stop(t)
}

// A key that waits for somebody's proposal is not forgotten because somebody else proposes
// the same and takes that back, and not replaced by another key of the same name.
func TestPendingKeyIsNotTakenAway(t *testing.T) {
	h, open := keyedHouse(t)
	r := h.start(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	ctx := t.Context()
	asked, err := li.client.ChangeKey(ctx, newZone)
	require.NoError(t, err)
	_, err = wang.client.ChangeKey(ctx, newZone)
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, asked.RRN)
	same, err := wang.client.ChangeKey(ctx, app.KeyChange{Act: book.KeyImport, Name: newZone.Name})
	require.NoError(t, err)
	require.Equal(t, asked.Key.Check, same.Key.Check)
	_, err = wang.client.Reject(ctx, app.Decision{RRN: same.RRN})
	require.NoError(t, err)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	key, err := open().Use("zone-bank", certs.ZoneMaster, now())
	require.NoError(t, err)
	require.Equal(t, asked.Key.Check, key.Check)
	r.stop(t)
}

// Where operators are enrolled and the policy does not say so, one adjusts, cuts over and
// resolves alone: the status, each enrolment and each start say it, until the policy does.
func TestAloneIsSaid(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, status.Warnings)
	li, _ := r.staffedHouse(t, 0) // off was said
	require.Contains(t, h.log.String(), "acts that need no second person")
	status, err = li.client.Status(t.Context())
	require.NoError(t, err)
	require.Len(t, status.Warnings, 1)
	require.Contains(t, status.Warnings[0], "adjust,cutover,resolve")
	_, err = li.client.PutPolicy(t.Context(), app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)
	status, err = li.client.Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, status.Warnings)
	r.stop(t)
}

// An export is fetched within an hour of its approval, each time with a note in the journal;
// what is no approval of an export, or of a key that is destroyed since, gives nothing.
func TestExportIsFetchedInTime(t *testing.T) {
	h, _ := keyedHouse(t)
	var ahead atomic.Int64 // The switch's clock, of ours.
	h.clock = func() points.Timestamp { return now().Add(time.Duration(ahead.Load())) }
	r := h.start(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	ctx := t.Context()
	agreed := func(change app.KeyChange) string {
		t.Helper()
		asked, err := li.client.ChangeKey(ctx, change)
		require.NoError(t, err)
		approved, err := wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
		require.NoError(t, err)
		return approved.RRN
	}
	made := agreed(newZone)
	agreed(app.KeyChange{Act: book.KeyGenerate, Name: "bank-pin", Usage: "zone-pin", Algorithm: "aes-128"})
	export := app.KeyChange{Act: book.KeyExport, Name: "bank-pin", Under: "zone-bank"}
	approval := agreed(export)
	_, err := li.client.FetchKey(ctx, made)
	reasonIs(t, points.FormatError, err)
	require.ErrorContains(t, err, made+" is neither the proposal nor the approval of an export")

	first, err := li.client.FetchKey(ctx, approval)
	require.NoError(t, err)
	again, err := li.client.FetchKey(ctx, approval)
	require.NoError(t, err)
	require.NotEqual(t, first.RRN, again.RRN, "each fetch is a record")
	for _, rrn := range []string{first.RRN, again.RRN} {
		note, err := wang.client.Detail(ctx, rrn)
		require.NoError(t, err)
		require.Equal(t, "li", note.Operator)
		require.Contains(t, note.Note, approval)
	}

	// A proposal that was refused is none that was approved.
	asked, err := li.client.ChangeKey(ctx, export)
	require.NoError(t, err)
	rejected, err := wang.client.Reject(ctx, app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	_, err = li.client.FetchKey(ctx, asked.RRN)
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, "it was rejected by wang under RRN "+rejected.RRN)

	// What is not pending says what it is, and what became of it.
	for rrn, says := range map[string]string{
		asked.RRN:      asked.RRN + " is not pending: it was rejected by wang under RRN " + rejected.RRN,
		rejected.RRN:   rejected.RRN + " is not pending: it is the decision (reject) about " + asked.RRN,
		first.RRN:      "it is no proposal",
		"000000999999": "the journal has no such record",
	} {
		_, err = wang.client.Approve(ctx, app.Decision{RRN: rrn})
		reasonIs(t, points.ProposalUnknown, err)
		require.ErrorContains(t, err, says)
	}
	_, err = li.client.FetchKey(ctx, rejected.RRN)
	reasonIs(t, points.FormatError, err)

	late := agreed(export)
	agreed(app.KeyChange{Act: book.KeyRetire, Name: "bank-pin"})
	agreed(app.KeyChange{Act: book.KeyDestroy, Name: "bank-pin"})
	_, err = li.client.FetchKey(ctx, late)
	reasonIs(t, points.ProposalStale, err)
	ahead.Store(int64(time.Hour + time.Second))
	session, err := r.client.Login(ctx, app.SignIn{Name: "li", Password: passphrase, Code: li.code(t, 120)})
	require.NoError(t, err)
	_, err = r.client.In(string(session.Token)).FetchKey(ctx, late)
	reasonIs(t, points.ProposalExpired, err)
	r.stop(t)
}

// A key block is taken for what its sender said it is, and under a master key that is in
// force: a check value that is another, or a master key that is over, is refused, and nothing
// waits afterwards. Nor is anything exported under such a key.
func TestImportIsWhatWasSaid(t *testing.T) {
	h, open := keyedHouse(t)
	r := h.start(t)
	li, _ := r.staffedHouse(t, 0)
	ctx := t.Context()
	for _, change := range []app.KeyChange{newZone, {Act: book.KeyGenerate, Name: "bank-pin", Usage: "zone-pin", Algorithm: "aes-128"}} {
		_, err := li.client.ChangeKey(ctx, change)
		require.NoError(t, err)
	}
	export := app.KeyChange{Act: book.KeyExport, Name: "bank-pin", Under: "zone-bank"}
	exported, err := li.client.ChangeKey(ctx, export)
	require.NoError(t, err)
	bring := app.KeyChange{Act: book.KeyImport, Name: "brought", Usage: "zone-pin", Algorithm: "aes-128", Block: exported.Block, Under: "zone-bank", KCV: "000000"}
	_, err = li.client.ChangeKey(ctx, bring)
	reasonIs(t, points.FormatError, err)
	require.ErrorContains(t, err, "the check value is "+exported.Key.Check.String())
	_, err = open().Pending("brought")
	require.ErrorIs(t, err, certs.ErrNoKey)
	bring.KCV = exported.Key.Check.String()
	brought, err := li.client.ChangeKey(ctx, bring)
	require.NoError(t, err)
	require.Equal(t, exported.Key.Check, brought.Key.Check)

	_, err = li.client.ChangeKey(ctx, app.KeyChange{Act: book.KeyRetire, Name: "zone-bank"})
	require.NoError(t, err)
	_, err = li.client.ChangeKey(ctx, export)
	reasonIs(t, points.FormatError, err)
	require.ErrorContains(t, err, "retired")
	_, err = li.client.ChangeKey(ctx, app.KeyChange{Act: book.KeyDestroy, Name: "zone-bank"})
	require.NoError(t, err)
	bring.Name = "late"
	_, err = li.client.ChangeKey(ctx, bring)
	reasonIs(t, points.FormatError, err)
	_, err = open().Key("late", 0)
	require.ErrorIs(t, err, certs.ErrNoKey)
	r.stop(t)
}

// A keystore that was changed beside the switch while a proposal waits is not taken along
// with it: the approval is refused, and what was changed stays unknown to the journal.
func TestCeremonyOverAnotherKeystore(t *testing.T) {
	h, open := keyedHouse(t)
	r := h.start(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	ctx := t.Context()
	asked, err := li.client.ChangeKey(ctx, newZone)
	require.NoError(t, err)
	require.NoError(t, open().Update(func(c *certs.Changes) error {
		_, err := c.Generate(certs.NewKey{Name: "slipped", Usage: certs.ZoneMaster, Algorithm: certs.AES256})
		return err
	}))
	_, err = wang.client.Approve(ctx, app.Decision{RRN: asked.RRN})
	require.ErrorContains(t, err, "changed outside the switch")
	_, err = open().Use(newZone.Name, certs.ZoneMaster, now())
	require.ErrorIs(t, err, certs.ErrNoKey)
	_, err = wang.client.ChangeKey(ctx, app.KeyChange{Act: book.KeyGenerate, Name: "other", Usage: "zone-master", Algorithm: "aes-256"})
	require.ErrorContains(t, err, "changed outside the switch")
	r.stop(t)
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrKeystore)
}
