package app_test

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

const townMaster = "tmk/M1/T1"

// The next master key of a terminal takes two persons, and the terminal's proof; then the
// keystore says so by a record of its own, which a crash between the two leaves to the next
// start, and a keystore from before it is refused.
func TestMasterKeyIsTaken(t *testing.T) {
	h, open := keyedHouse(t)
	path := h.config.Keys.File
	r := h.start(t)
	r.load(t, strings.Replace(smallTown, "{id: T1, merchant: M1}", "{id: T1, merchant: M1, mac: cmac}", 1))
	li, wang := r.staffedHouse(t, book.TwoPersons)
	made, err := li.client.ChangeKey(t.Context(), app.KeyChange{Act: book.KeyGenerate, Name: townMaster, Usage: "terminal-master", Algorithm: "aes-128"})
	require.NoError(t, err)
	_, err = wang.client.Approve(t.Context(), app.Decision{RRN: made.RRN})
	require.NoError(t, err)
	first, err := open().Key(townMaster, 1)
	require.NoError(t, err)
	terminal := r.terminal(t, "T1")
	terminal.Keys = &sim.Keys{Master: first, Set: certs.KeySetAES128, By: certs.CMAC, Random: rand.Reader}
	require.Equal(t, points.Approved, send(t, terminal, points.SignOn, "", 0).Response.Reason)

	oldest, err := os.ReadFile(path)
	require.NoError(t, err)
	asked, err := li.client.ChangeKey(t.Context(), app.KeyChange{Act: book.KeyOffer, Name: townMaster})
	require.NoError(t, err)
	require.Equal(t, points.NoKeyReady.DE39(), send(t, terminal, points.KeyChange, "", 0).Response.Reason.DE39(), "it waits for a second person")
	_, err = wang.client.Approve(t.Context(), app.Decision{RRN: asked.RRN})
	require.NoError(t, err)
	_, err = li.client.ChangeKey(t.Context(), app.KeyChange{Act: book.KeyTake, Name: townMaster})
	reasonIs(t, points.FormatError, err)
	require.Equal(t, points.Approved, send(t, terminal, points.KeyChange, "", 0).Response.Reason)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	generation, err := os.ReadFile(path + ".generation")
	require.NoError(t, err)
	current, err := open().Use(townMaster, certs.TerminalMaster, now())
	require.NoError(t, err)
	require.Equal(t, uint32(1), current.Version)

	require.Equal(t, points.Approved, send(t, terminal, points.SignOn, "", 0).Response.Reason)
	require.Equal(t, uint32(2), terminal.Keys.Master.Version)
	require.Eventually(t, func() bool { return len(open().MastersOnOffer()) == 0 }, 20*time.Second, 20*time.Millisecond)
	want := open().Mark()
	current, err = open().Use(townMaster, certs.TerminalMaster, now())
	require.NoError(t, err)
	require.Equal(t, uint32(2), current.Version)
	old, err := open().Key(townMaster, 1)
	require.NoError(t, err)
	require.ErrorIs(t, old.InForce(now(), false), certs.ErrKeyUse)
	r.stop(t)

	// As if the process had ended between the record and the file.
	require.NoError(t, os.WriteFile(path, before, 0o600))
	require.NoError(t, os.WriteFile(path+".generation", generation, 0o600))
	require.Len(t, open().MastersOnOffer(), 1)
	r = h.start(t)
	require.Equal(t, want, open().Mark())
	terminal = again(t, r, terminal)
	require.Equal(t, points.Approved, send(t, terminal, points.SignOn, "", 0).Response.Reason)

	r.stop(t)

	// The file from before the offer: refused.
	require.NoError(t, os.WriteFile(path, oldest, 0o600))
	require.NoError(t, os.Remove(path+".generation"))
	_, err = h.open(t)
	require.ErrorIs(t, err, app.ErrKeystore)
}

// again is the terminal at a switch that was started anew.
func again(t *testing.T, r *running, was *sim.Terminal) *sim.Terminal {
	t.Helper()
	terminal := r.terminal(t, was.Terminal.String())
	terminal.STAN, terminal.Keys = was.STAN, was.Keys
	return terminal
}
