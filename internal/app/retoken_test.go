package app_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// After a change of the card key everything that is told of a whole day is what it was,
// to the byte, the switch serves its cards under the new key, and neither key opens the
// other's store.
func TestRetoken(t *testing.T) {
	h, r := playDay(t)
	before, err := r.client.Accounts(t.Context(), app.Holder{Card: "6222020000000000017"})
	require.NoError(t, err)
	r.stop(t)
	told := func(data, key string) string {
		var text bytes.Buffer
		records, err := app.ExportOffline(t.Context(), data, key, whole(app.ExportJSONL), &text)
		require.NoError(t, err)
		require.Positive(t, records)
		return text.String()
	}
	want := told(h.config.Data, h.config.CardKey)
	require.Contains(t, want, "622202*********0017")

	dir := t.TempDir()
	change := app.Retokening{
		From: h.config.Data, Data: filepath.Join(dir, "store"), OldKey: h.config.CardKey, NewKey: filepath.Join(dir, "card.key"),
		Copied: silent, Proved: silent,
	}
	done, err := app.Retoken(t.Context(), change)
	require.NoError(t, err)
	require.Positive(t, done.Cards)
	require.NotEqual(t, done.OldKCV, done.NewKCV)
	require.NotEqual(t, done.OldHash, done.NewHash)
	require.Equal(t, want, told(change.Data, change.NewKey))
	info, err := os.Stat(change.NewKey)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	old := h.config
	h.config.Data = change.Data
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrOtherKey)
	h.config.Data, h.config.CardKey = old.Data, change.NewKey
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrOtherKey)

	h.config.Data = change.Data
	r = h.start(t)
	proof, err := r.client.Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	require.Equal(t, done.Digest, proof.Digest)
	after, err := r.client.Accounts(t.Context(), app.Holder{Card: "6222020000000000017"})
	require.NoError(t, err)
	require.Equal(t, before.Accounts, after.Accounts)
	r.stop(t)
}

// What stops a change of the card key leaves neither store nor key behind, and no store
// is written under a key that it has already.
func TestRetokenThatFailsLeavesNothing(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	r.stop(t)
	dir := t.TempDir()
	wrong := filepath.Join(t.TempDir(), "wrong.key")
	require.NoError(t, certs.WriteCardKey(wrong, rand.Reader))
	good := app.Retokening{
		From: h.config.Data, Data: filepath.Join(dir, "store"), OldKey: h.config.CardKey, NewKey: filepath.Join(dir, "card.key"), Copied: silent, Proved: silent,
	}
	for name, spoil := range map[string]struct {
		spoil func(*app.Retokening)
		want  error
	}{
		"another old key":    {func(r *app.Retokening) { r.OldKey = wrong }, app.ErrOtherKey},
		"the same key":       {func(r *app.Retokening) { r.NewKey = r.OldKey }, app.ErrSameKey},
		"a folder that is":   {func(r *app.Retokening) { r.Data = h.config.Data }, points.Errorf(points.AlreadyExists, "")},
		"a key that is lost": {func(r *app.Retokening) { r.OldKey = filepath.Join(dir, "none") }, os.ErrNotExist},
	} {
		change := good
		spoil.spoil(&change)
		_, err := app.Retoken(t.Context(), change)
		if reason := points.ReasonOf(spoil.want); reason == points.AlreadyExists {
			require.Equal(t, reason, points.ReasonOf(err), name)
		} else {
			require.ErrorIs(t, err, spoil.want, name)
		}
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, name)
	}
	_, err := app.Retoken(t.Context(), good)
	require.NoError(t, err)
}

// Operators sign in after a change of the card key with the authenticators that they have:
// their secrets are under the new key, and those under the old one open nothing.
func TestRetokenTakesOperatorsAlong(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	li := r.enrol(t, r.client, "li", book.RoleAdmin|book.RoleOperator)
	r.stop(t)
	dir := t.TempDir()
	change := app.Retokening{
		From: h.config.Data, Data: filepath.Join(dir, "store"), OldKey: h.config.CardKey, NewKey: filepath.Join(dir, "card.key"), Copied: silent, Proved: silent,
	}
	_, err := app.Retoken(t.Context(), change)
	require.NoError(t, err)
	h.config.Data, h.config.CardKey = change.Data, change.NewKey
	r = h.start(t)
	session, err := r.client.Login(t.Context(), app.SignIn{Name: "li", Password: passphrase, Code: li.code(t, 1)})
	require.NoError(t, err)
	_, err = r.client.In(string(session.Token)).Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	r.stop(t)
}
