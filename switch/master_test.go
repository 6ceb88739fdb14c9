package pointswitch_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

func (k *keyed) master(version uint32) *certs.Key {
	k.t.Helper()
	key, err := k.store.Key(certs.TerminalMasterName(k.at, k.id), version)
	require.NoError(k.t, err)
	return key
}

func (k *keyed) offered() {
	k.t.Helper()
	require.NoError(k.t, k.store.Update(func(c *certs.Changes) error {
		_, err := c.Offer(certs.TerminalMasterName(k.at, k.id))
		return err
	}))
}

// fetches asks for the next master key.
func (k *keyed) fetches() points.Response {
	k.t.Helper()
	req := k.next(points.KeyChange)
	return k.sends(k.frame(&req))
}

// signOnFrame is a sign-on with a MAC that proves master; nil: without one.
func (k *keyed) signOnFrame(set certs.KeySet, master *certs.Key) (frame []byte, by *certs.MAC) {
	k.t.Helper()
	req := k.next(points.SignOn)
	req.NetworkCode = map[certs.KeySet]uint16{certs.KeySet003: 3, certs.KeySetAES128: dialect.SignOnAES128}[set]
	req.Operator = [3]byte{'0', '0', '1'}
	if master == nil {
		frame, err := dialect.Pos().AppendRequest(nil, &req)
		require.NoError(k.t, err)
		return frame, nil
	}
	req.Mark(64)
	frame, err := dialect.Pos().AppendRequest(nil, &req)
	require.NoError(k.t, err)
	by, err = certs.NewProof(master)
	require.NoError(k.t, err)
	dialect.Pos().Sign(frame, &req, by)
	return frame, by
}

// signsOnUnder signs on with a MAC by proof, if there is one, and takes the keys if they
// open under master.
func (k *keyed) signsOnUnder(set certs.KeySet, proof, master *certs.Key) (resp points.Response, opened error) {
	k.t.Helper()
	var frame []byte
	frame, k.mac = k.signOnFrame(set, proof) // so that sends looks at the answer's
	if resp = k.sends(frame); !resp.Reason.Approved() {
		return resp, nil
	}
	keys, err := certs.OpenWorkingKeys(set, []byte(resp.List), master, k.at, k.id)
	if err != nil {
		return resp, err
	}
	k.mac, err = certs.NewMAC(keys.MAC, k.by)
	require.NoError(k.t, err)
	return resp, nil
}

// the terminals of the house, one of DES and one of AES.
func eachKeyed(t *testing.T, story func(t *testing.T, h *house, k *keyed, set certs.KeySet)) {
	for id, set := range map[string]certs.KeySet{"T1": certs.KeySet003, "T3": certs.KeySetAES128} {
		t.Run(id, func(t *testing.T) {
			h, store := keyedHouse(t)
			story(t, h, h.terminal(store, id), set)
			h.verify()
		})
	}
}

// tell gives the ledger a command and returns what it says.
func (h *house) tell(cmd book.Command) book.Outcome {
	h.t.Helper()
	cmd.At = h.clock()
	out, err := h.ledger.Do(h.t.Context(), &cmd)
	require.NoError(h.t, err)
	return out
}

func (h *house) again(k *keyed) {
	h.crash()
	h.start()
	k.peer = h.dial(h.pos)
}

// A terminal gets its next master key where one is on offer, the same each time, under the
// one that it has; whatever ends the process, the one before is in force until the terminal
// has signed on with a MAC by the next, and never afterwards.
func TestMasterKeyIsHandedOver(t *testing.T) {
	eachKeyed(t, func(t *testing.T, h *house, k *keyed, set certs.KeySet) {
		first := k.master(1)
		_, opened := k.signsOnUnder(set, nil, first)
		require.NoError(t, opened)
		require.Equal(t, points.NoKeyReady.DE39(), k.fetches().Reason.DE39())

		k.offered()
		last := h.last()
		answer := k.fetches()
		require.True(t, answer.Reason.Approved())
		require.Equal(t, answer.List, k.fetches().List)
		require.Equal(t, last, h.last(), "to hand it over changes nothing")
		next, err := certs.OpenMasterBlock([]byte(answer.List), first)
		require.NoError(t, err)
		require.True(t, next.Same(k.master(2)))
		require.NotContains(t, h.log.text(), answer.List)

		h.again(k)
		require.Equal(t, answer.List, k.fetches().List, "a restart hands over the same")
		_, opened = k.signsOnUnder(set, nil, first)
		require.NoError(t, opened, "the one before is in force")
		require.Equal(t, points.Approved, k.sells(100))
		_, opened = k.signsOnUnder(set, first, first)
		require.NoError(t, opened, "and may be proved")

		_, opened = k.signsOnUnder(set, next, next)
		require.NoError(t, opened)
		require.Equal(t, points.Approved, k.sells(100))
		h.view(func(b *book.Book) {
			keys, err := b.Keys(posAcq, k.at, k.id)
			require.NoError(t, err)
			require.Equal(t, uint32(2), keys.Master)
		})
		for range 2 {
			_, opened = k.signsOnUnder(set, nil, first)
			require.Error(t, opened, "the one before is over")
			resp, _ := k.signsOnUnder(set, first, first)
			require.Equal(t, points.BadMAC, resp.Reason)
			_, opened = k.signsOnUnder(set, nil, next)
			require.NoError(t, opened)
			h.again(k)
		}
		require.Equal(t, points.NoKeyReady.DE39(), k.fetches().Reason.DE39(), "it has what there is")
	})
}

// Who has recorded the messages of an update gains nothing by sending them again, and who
// forges one is refused without a trace.
func TestMasterKeyAttacks(t *testing.T) {
	eachKeyed(t, func(t *testing.T, h *house, k *keyed, set certs.KeySet) {
		first := k.master(1)
		_, opened := k.signsOnUnder(set, nil, first)
		require.NoError(t, opened)
		k.offered()

		// Without a MAC nobody is told whether there is a key.
		working := k.mac
		k.mac = nil
		last := h.last()
		require.Equal(t, points.BadMAC, k.fetches().Reason)
		k.mac = working
		fetch := k.next(points.KeyChange)
		fetched := k.frame(&fetch)
		require.True(t, k.sends(fetched).Reason.Approved())

		// A sign-on whose MAC is by no master key of the terminal's: of another, of the
		// working key, turned in any of its bits.
		second := k.master(2)
		proof, _ := k.signOnFrame(set, second)
		request := k.next(points.SignOn)
		request.NetworkCode, request.Operator = map[certs.KeySet]uint16{certs.KeySet003: 3, certs.KeySetAES128: 6}[set], [3]byte{'0', '0', '1'}
		request.Mark(64)
		byWorking, err := dialect.Pos().AppendRequest(nil, &request)
		require.NoError(t, err)
		dialect.Pos().Sign(byWorking, &request, working)
		forged := [][]byte{byWorking}
		for bit := range 64 {
			turned := append([]byte(nil), proof...)
			turned[len(turned)-8+bit/8] ^= 1 << (bit % 8)
			forged = append(forged, turned)
		}
		k.mac = nil
		for i, frame := range forged {
			require.Equal(t, points.BadMAC, k.sends(frame).Reason, "forgery %d", i)
		}
		require.Equal(t, last, h.last())
		k.mac = working
		require.Equal(t, points.Approved, k.sells(100), "and the keys are what they were")

		// The proof itself, then again: the same key is in force, and who has not got it
		// cannot read what comes.
		k.mac = nil
		for range 2 {
			resp := k.sends(proof)
			require.True(t, resp.Reason.Approved())
			_, err := certs.OpenWorkingKeys(set, []byte(resp.List), first, k.at, k.id)
			require.Error(t, err)
		}
		_, opened = k.signsOnUnder(set, second, second)
		require.NoError(t, opened)
		require.Equal(t, points.Approved, k.sells(100))
		require.Equal(t, points.BadMAC, k.sends(fetched).Reason, "the request of before, with the MAC of before")

		// When the next one is in force, the proof of the one before is over.
		require.NoError(t, k.store.Update(func(c *certs.Changes) error {
			if _, err := c.Take(second.Name, 2, h.clock()); err != nil {
				return err
			}
			_, err := c.Offer(second.Name)
			return err
		}))
		_, opened = k.signsOnUnder(set, k.master(3), k.master(3))
		require.NoError(t, opened)
		last, working = h.last(), k.mac
		k.mac = nil
		require.Equal(t, points.BadMAC, k.sends(proof).Reason)
		require.Equal(t, last, h.last())
		k.mac = working
		require.Equal(t, points.Approved, k.sells(100))
	})
}

// A master key is its own terminal's: a sign-on that proves another's is refused without a
// trace, whether a next one is on offer or not, and what a sign-on brings opens under no
// other, and under its own.
func TestMasterKeyOfAnotherTerminal(t *testing.T) {
	h, store := keyedHouse(t)
	k, other := h.terminal(store, "T1"), h.terminal(store, "T2")
	first := k.master(1)
	for _, offer := range []bool{false, true} {
		if offer {
			k.offered()
			other.offered()
		}
		_, opened := k.signsOnUnder(certs.KeySet003, nil, first)
		require.NoError(t, opened)
		require.Equal(t, points.Approved, k.sells(1))
		working, last := k.mac, h.last()
		for version := range uint32(2) {
			foreign := other.master(version) // 0 is the newest.
			resp, _ := k.signsOnUnder(certs.KeySet003, foreign, foreign)
			require.Equal(t, points.BadMAC, resp.Reason)
			require.Equal(t, last, h.last())
			frame, _ := k.signOnFrame(certs.KeySet003, nil)
			k.mac = nil
			resp = k.sends(frame)
			require.Equal(t, points.Approved, resp.Reason)
			_, err := certs.OpenWorkingKeys(certs.KeySet003, []byte(resp.List), foreign, k.at, k.id)
			require.Error(t, err)
			last = h.last()
		}
		k.mac = working
		require.Equal(t, points.Approved, k.sells(1))
	}
	h.verify()
}

// Terminals whose keys are derived for each message, or that have none, have no master key.
func TestMasterKeyOfTheOthers(t *testing.T) {
	h, store := keyedHouse(t)
	h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "T2"), Merchant: parseMerchant(t, "SHOP"), Status: book.Active}})
	require.Equal(t, points.FunctionDisabled.DE39(), h.terminal(store, "T2").fetches().Reason.DE39())
}

// A terminal that was put up elsewhere and comes back has its keys under the master key that
// it has proved, and not under the one before, whether the process has ended meanwhile or not.
func TestMasterKeyAfterAWayRound(t *testing.T) {
	for _, ends := range []bool{false, true} {
		h, store := keyedHouse(t)
		k := h.terminal(store, "T1")
		first := k.master(1)
		k.offered()
		next := k.master(2)
		_, opened := k.signsOnUnder(certs.KeySet003, next, next)
		require.NoError(t, opened)
		at := k.at
		move := func(to points.MerchantID) {
			h.put(book.Entry{Terminal: &book.Terminal{ID: k.id, Merchant: to, Status: book.Active, MAC: book.MACByXOR}})
			k.at = to
		}
		move(parseMerchant(t, "CAFE"))
		require.NoError(t, store.Update(func(c *certs.Changes) error {
			_, err := c.Generate(certs.NewKey{Name: certs.TerminalMasterName(k.at, k.id), Usage: certs.TerminalMaster, Algorithm: certs.TDES})
			return err
		}))
		there := k.master(1)
		_, opened = k.signsOnUnder(certs.KeySet003, there, there)
		require.NoError(t, opened)
		if ends {
			h.again(k)
		}
		move(at)
		resp, opened := k.signsOnUnder(certs.KeySet003, nil, next)
		require.True(t, resp.Reason.Approved())
		require.NoError(t, opened, "under the key that it has proved")
		_, opened = k.signsOnUnder(certs.KeySet003, nil, first)
		require.Error(t, opened, "and not under the one before")
		h.verify()
	}
}

// The journal holds against a proof that is older than another, whoever gives it the command.
func TestMasterKeyOnlyGrows(t *testing.T) {
	h, store := keyedHouse(t)
	k := h.terminal(store, "T1")
	signOn := book.Command{Kind: book.KindSignOn, Function: points.SignOn, Acquirer: posAcq, Merchant: k.at, Terminal: k.id, KeySet: 2}
	proved := func() (version uint32) {
		h.view(func(b *book.Book) {
			keys, err := b.Keys(posAcq, k.at, k.id)
			require.NoError(t, err)
			version = keys.Master
		})
		return version
	}
	for _, c := range []struct {
		proves, want uint32
		reason       points.Reason
	}{{0, 0, points.Approved}, {3, 3, points.Approved}, {2, 3, points.BadMAC}, {0, 3, points.Approved}, {3, 3, points.Approved}} {
		signOn.Master = c.proves
		out := h.tell(signOn)
		require.Equal(t, c.reason, out.Reason)
		require.Equal(t, c.want, proved())
	}
	take := func(version uint32) points.Reason {
		out := h.tell(book.Command{Kind: book.KindKeystore, Acquirer: posAcq, Merchant: k.at, Terminal: k.id, Note: "taken", Ceremony: book.Ceremony{
			Act: book.KeyTake, Key: "tmk/SHOP/T1", Version: version, Keystore: book.Keystore{Generation: 9, Digest: [16]byte{1}},
		}})
		return out.Reason
	}
	require.Equal(t, points.NotPermitted, take(4), "what nobody has proved is not taken")
	require.Equal(t, points.Approved, take(3))
	h.crash()
	h.start()
	require.Equal(t, uint32(3), proved())
	h.verify()
}
