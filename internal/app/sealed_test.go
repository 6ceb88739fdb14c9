package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
)

// backupKey draws a key and returns what seals to it and what opens with it.
func backupKey(t *testing.T) (*certs.BackupSeal, *certs.BackupOpener) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	seal, err := certs.NewBackupSeal([]string{identity.Recipient().String()})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(identity.String()), 0o600))
	opener, err := certs.NewBackupOpener(path)
	require.NoError(t, err)
	return seal, opener
}

// requireNothing wants an empty folder.
func requireNothing(t *testing.T, dir, why string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, why)
}

// An encrypted backup of a switch that serves says what it holds, tells nothing without
// its key, proves without a restore, and a restore of it is the same ledger.
func TestSealedBackup(t *testing.T) {
	h, r := playDay(t)
	seal, opener := backupKey(t)
	live, err := r.client.Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "day.age")
	b, err := r.client.BackupSealed(t.Context(), path, seal, now, silent)
	require.NoError(t, err)
	require.Equal(t, live.Position, b.Position)
	require.Equal(t, live.Records, b.Records)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, info.Size(), b.Bytes)
	_, err = r.client.BackupSealed(t.Context(), path, seal, now, silent)
	require.Equal(t, points.AlreadyExists, points.ReasonOf(err))
	r.stop(t)

	file, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, known := range []string{"LFJ1", "622202", "case 17", "海港"} {
		require.NotContains(t, string(file), known)
	}
	proved, err := app.VerifySealed(t.Context(), path, opener, silent)
	require.NoError(t, err)
	proved.Millis = b.Millis
	require.Equal(t, b, proved)

	data := filepath.Join(t.TempDir(), "store")
	again, err := app.Restore(t.Context(), app.Restoring{From: path, Opener: opener, Data: data, Copied: silent, Proved: silent})
	require.NoError(t, err)
	require.Equal(t, live.Digest, again.Digest)
	h.config.Data = data
	own := h.config.CardKey
	h.config.CardKey = filepath.Join(t.TempDir(), "other.key")
	require.NoError(t, certs.WriteCardKey(h.config.CardKey, rand.Reader))
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrOtherKey, "the card key's check value came along")
	h.config.CardKey = own
	r = h.start(t)
	served, err := r.client.Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	require.Equal(t, live.Digest, served.Digest)
	r.stop(t)
}

// Another key, an altered file, one that is cut short, and one without a key are each
// named, by verify and by restore, and leave nothing behind.
func TestSealedBackupThatDoesNotOpen(t *testing.T) {
	_, r := playDay(t)
	seal, opener := backupKey(t)
	_, stranger := backupKey(t)
	path := filepath.Join(t.TempDir(), "day.age")
	_, err := r.client.BackupSealed(t.Context(), path, seal, now, silent)
	require.NoError(t, err)
	r.stop(t)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	altered := bytes.Clone(whole)
	altered[len(altered)-100] ^= 1
	dir := t.TempDir()
	data := filepath.Join(dir, "store")
	for name, c := range map[string]struct {
		file   []byte
		opener *certs.BackupOpener
		want   error
	}{
		"another key": {whole, stranger, certs.ErrBackupKey},
		"altered":     {altered, opener, certs.ErrBackupDamaged},
		"cut short":   {whole[:len(whole)-1], opener, certs.ErrBackupDamaged},
		"cut to half": {whole[:len(whole)/2], opener, certs.ErrBackupDamaged},
		"not sealed":  {[]byte("lianfen"), opener, certs.ErrNotSealed},
	} {
		require.NoError(t, os.WriteFile(path, c.file, 0o600))
		_, err := app.VerifySealed(t.Context(), path, c.opener, silent)
		require.ErrorIs(t, err, c.want, name)
		_, err = app.Restore(t.Context(), app.Restoring{From: path, Opener: c.opener, Data: data, Copied: silent, Proved: silent})
		require.ErrorIs(t, err, c.want, name)
		requireNothing(t, dir, name)
	}
	_, err = app.Restore(t.Context(), app.Restoring{From: path, Data: data, Copied: silent, Proved: silent})
	require.ErrorContains(t, err, "--identity")
	_, err = app.Restore(t.Context(), app.Restoring{From: t.TempDir(), Opener: opener, Data: data, Copied: silent, Proved: silent})
	require.ErrorIs(t, err, certs.ErrNotSealed)
	requireNothing(t, dir, "no key")
}

// A backup or restore that is given up on the way leaves nothing; what a kill has left
// is not taken for a backup, nor written over.
func TestSealedBackupGivenUp(t *testing.T) {
	_, r := playDay(t)
	seal, opener := backupKey(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "day.age")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := r.client.BackupSealed(ctx, path, seal, now, func(uint64, uint64) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	requireNothing(t, dir, "backup")
	require.NoError(t, os.WriteFile(path+".partial", []byte("age-encryption.org/v1"), 0o600))
	_, err = r.client.BackupSealed(t.Context(), path, seal, now, silent)
	require.Equal(t, points.AlreadyExists, points.ReasonOf(err))
	require.ErrorContains(t, err, ".partial")
	_, err = app.VerifySealed(t.Context(), path+".partial", opener, silent)
	require.ErrorIs(t, err, certs.ErrNotSealed)
	require.NoError(t, os.Remove(path+".partial"))
	_, err = r.client.BackupSealed(t.Context(), path, seal, now, silent)
	require.NoError(t, err)

	target := t.TempDir()
	ctx, cancel = context.WithCancel(t.Context())
	restoring := app.Restoring{From: path, Opener: opener, Data: filepath.Join(target, "store"), Copied: func(uint64, uint64) { cancel() }, Proved: silent}
	_, err = app.Restore(ctx, restoring)
	require.ErrorIs(t, err, context.Canceled)
	requireNothing(t, target, "restore")
	restoring.Copied, restoring.Until = silent, ledger.Until{Position: 10}
	done, err := app.Restore(t.Context(), restoring)
	require.NoError(t, err)
	require.Equal(t, points.Position(10), done.Position)
	r.stop(t)

	_, err = r.client.BackupSealed(t.Context(), filepath.Join(t.TempDir(), "x"), seal, now, silent)
	require.ErrorContains(t, err, "is lianfen serve running")
}

// A journal that the switch could not send to its end says so, and why: in a trailer, since
// by then it has said that all is well; whoever reads it takes nothing of it for a backup.
func TestJournalSaysWhyItBrokeOff(t *testing.T) {
	_, r := playDay(t)
	given, giveUp := context.WithCancel(t.Context())
	giveUp()
	recorder := httptest.NewRecorder()
	r.JournalHandler()(recorder, httptest.NewRequestWithContext(given, http.MethodPost, "/v1/journal", strings.NewReader("{}")))
	trailer := recorder.Result().Trailer
	require.Contains(t, trailer.Get("Lianfen-Fault"), "canceled")
	require.Empty(t, trailer.Get("Lianfen-Exported"))
	r.stop(t)
}

// treeOf is what lies in a folder, by name.
func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		if entry.Type().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			name, err := filepath.Rel(dir, path)
			require.NoError(t, err)
			tree[name] = string(text)
		}
		return nil
	}))
	return tree
}

// What settlement and reconciliation have left comes with a backup of either kind, and
// with a restore of the whole: byte for byte, so that each file set verifies and the switch
// knows its runs; up to a position nothing of it is restored. Work that is not whole stays.
func TestBackupHasTheNight(t *testing.T) {
	h, r, date, acquirer, _ := settledDay(t)
	ctx := t.Context()
	_, err := r.client.Reconcile(ctx, app.Reconciling{Date: date, Acquirers: []app.PartnerFile{{Member: 20000001, Path: acquirer}}})
	require.NoError(t, err)
	_, err = r.client.SettleDeliveries(ctx, app.SettleAsk{}) // The slips of the run are written from then on.
	require.NoError(t, err)
	runs := filepath.Join(h.config.Data, app.SettlementFolder)
	for _, name := range []string{filepath.Join(runs, "01KJJQZ3A00000000000000009.tmp", "half"), filepath.Join(h.config.Data, "recon", "2026-01-01.partial", "half")} {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte("half"), 0o600))
	}
	want := map[string]string{}
	for folder, tree := range map[string]map[string]string{app.SettlementFolder: treeOf(t, runs), "recon": treeOf(t, filepath.Join(h.config.Data, "recon"))} {
		for name, text := range tree {
			if !strings.Contains(name, "half") {
				want[filepath.Join(folder, name)] = text
			}
		}
	}
	require.Greater(t, len(want), 30)

	dir := t.TempDir()
	seal, opener := backupKey(t)
	plain, sealed := filepath.Join(dir, "plain"), filepath.Join(dir, "day.age")
	b, err := r.client.Backup(ctx, plain)
	require.NoError(t, err)
	s, err := r.client.BackupSealed(ctx, sealed, seal, now, silent)
	require.NoError(t, err)
	shown, err := r.client.SettleShow(ctx, app.SettleAsk{})
	require.NoError(t, err)
	r.stop(t)
	file, err := os.ReadFile(sealed)
	require.NoError(t, err)
	require.NotContains(t, string(file), "QZ_DET")
	proved, err := app.VerifySealed(ctx, sealed, opener, silent)
	require.NoError(t, err)
	require.Equal(t, []uint64{uint64(len(want)), uint64(len(want)), uint64(len(want))}, []uint64{b.Files, s.Files, proved.Files})

	for name, restoring := range map[string]app.Restoring{"a": {From: plain}, "b": {From: sealed, Opener: opener}, "c": {From: h.config.Data}} {
		restoring.Data, restoring.Copied, restoring.Proved = filepath.Join(dir, name), silent, silent
		restored, err := app.Restore(ctx, restoring)
		require.NoError(t, err)
		require.EqualValues(t, len(want), restored.Files)
		for name, text := range want {
			is, err := os.ReadFile(filepath.Join(restoring.Data, name))
			require.NoError(t, err)
			require.Equal(t, text, string(is), name)
		}
		for _, folder := range []string{app.SettlementFolder, "recon"} {
			require.NotContains(t, strings.Join(slices.Collect(maps.Keys(treeOf(t, filepath.Join(restoring.Data, folder)))), " "), "half")
		}
		restoring.Data, restoring.Until = restoring.Data+".until", ledger.Until{Position: 10}
		restored, err = app.Restore(ctx, restoring)
		require.NoError(t, err)
		require.Zero(t, restored.Files)
		require.NoDirExists(t, filepath.Join(restoring.Data, "settlement"))
	}
	set := filepath.Join(dir, "b", app.SettlementFolder, shown[0].ID, "20000001")
	report, err := files.Verify(os.DirFS(set), nil, files.Check{Scale: 4})
	require.NoError(t, err)
	require.True(t, report.OK, "%v", report.Breaches)
	require.NotEmpty(t, report.Files)
	h.config.Data = filepath.Join(dir, "b")
	r = h.start(t)
	again, err := r.client.SettleShow(ctx, app.SettleAsk{})
	require.NoError(t, err)
	require.Equal(t, shown, again)
	list, err := r.client.Exceptions(ctx, app.ReconQuery{All: true})
	require.NoError(t, err)
	require.Empty(t, list.Exceptions)
	r.stop(t)
}

// Whoever knows a recipient can make a backup. A name that leads out of the store, or to
// anything but the night's files, a file that stands twice, and one that breaks off are
// damage: a restore leaves nothing, inside or outside.
func TestBackupOfAStranger(t *testing.T) {
	seal, opener := backupKey(t)
	dir := t.TempDir()
	frame := func(name, text string) string {
		return string(binary.BigEndian.AppendUint64(append(binary.BigEndian.AppendUint16(nil, uint16(len(name))), name...), uint64(len(text)))) + text
	}
	const good = "settlement/run/01KJJQZ3A00000000000000002.json"
	for what, body := range map[string]string{
		"upwards":      frame("settlement/run/../../../evil", "x"),
		"beside":       frame("recon/../evil", "x"),
		"rooted":       frame("/tmp/evil", "x"),
		"the store":    frame("db/CURRENT", "x"),
		"the folder":   frame("settlement/run/", "x"),
		"not clean":    frame("recon//x", "x"),
		"twice":        frame(good, "x") + frame(good, "y"),
		"breaks off":   frame(good, "xyz")[:len(frame(good, "xyz"))-1],
		"no end":       frame(good, "xyz"),
		"in the head":  "\x00",
		"a long name":  frame(strings.Repeat("x", 600), "x"),
		"a minus size": string(append(binary.BigEndian.AppendUint16(nil, 7), "recon/x\xff\xff\xff\xff\xff\xff\xff\xff"...)),
	} {
		path := filepath.Join(dir, "b.age")
		file, err := os.Create(path)
		require.NoError(t, err)
		w, err := seal.To(file)
		require.NoError(t, err)
		_, err = w.Write([]byte("LFN1" + body))
		require.NoError(t, err)
		require.NoError(t, errors.Join(w.Close(), file.Close()))
		_, err = app.VerifySealed(t.Context(), path, opener, silent)
		if what != "twice" { // Only who writes it sees that.
			require.ErrorIs(t, err, certs.ErrBackupDamaged, what)
		}
		target := filepath.Join(dir, "target")
		require.NoError(t, os.Mkdir(target, 0o700))
		_, err = app.Restore(t.Context(), app.Restoring{From: path, Opener: opener, Data: filepath.Join(target, "store"), Copied: silent, Proved: silent})
		require.Error(t, err, what)
		requireNothing(t, target, what)
		require.NoError(t, errors.Join(os.Remove(target), os.Remove(path)))
		requireNothing(t, dir, what)
	}
}
