package pointswitch_test

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// rival is another partner, with keys of its own and the merchant YARD.
const rival points.AcquirerID = 10000009

// overlap is for how long the keys before are believed in the house under test.
const overlap = time.Minute

// openVault opens the house's keystore from its files, as a start does.
func (h *house) openVault(opts *pointswitch.Options) {
	if h.vault == "" {
		return
	}
	kek, err := certs.OpenKEK("file:"+filepath.Join(h.vault, "kek"), rand.Reader)
	require.NoError(h.t, err)
	store, err := certs.OpenKeystore(filepath.Join(h.vault, "keys"), kek, rand.Reader)
	require.NoError(h.t, err)
	h.zones, err = pointswitch.NewZones(pointswitch.ZonesOptions{
		Keystore: store, Rules: h.rules, Overlap: overlap, MACErrors: macErrors, Clock: h.clock, Log: opts.Log,
	})
	require.NoError(h.t, err)
	opts.Keystore, opts.MACErrors, opts.Zones = store, macErrors, h.zones
}

// side is a partner: its own keystore with the master key that it shares with us, and what
// it has agreed with us. It knows nothing of the switch.
type side struct {
	t         testing.TB
	zone      certs.Zone
	store     *certs.Keystore
	now, old  certs.ZoneKeys
	sent      map[string][2]string // blocks and check values, by name
	algorithm certs.MACAlgorithm
}

// meet gives a partner a keystore, and both sides the same master key.
func meet(t testing.TB, ours *certs.Keystore, zone certs.Zone, seed byte, by certs.MACAlgorithm) *side {
	t.Helper()
	s := &side{t: t, zone: zone, store: vault(t, nil), sent: make(map[string][2]string), algorithm: by}
	for _, store := range []*certs.Keystore{ours, s.store} {
		parts, err := certs.NewComponents(certs.AES256)
		require.NoError(t, err)
		for _, part := range []byte{seed, 0x5C} {
			_, err = parts.Add([]byte(strings.Repeat(fmt.Sprintf("%02X", part), 31) + "01"))
			require.NoError(t, err)
			seed ^= 0x33
		}
		master, err := parts.Key()
		require.NoError(t, err)
		require.NoError(t, store.Update(func(c *certs.Changes) error {
			_, err := c.Import(certs.NewKey{Name: zone.Master(), Usage: certs.ZoneMaster, Algorithm: certs.AES256}, master)
			return err
		}))
	}
	return s
}

// draws makes new keys and puts them in force at the partner's end.
func (s *side) draws(now points.Timestamp) (blocks, checks string) {
	algorithm := map[certs.MACAlgorithm]certs.Algorithm{certs.CMAC: certs.AES128, certs.RetailMAC: certs.TDES, certs.HMAC: certs.HMACSHA256}[s.algorithm]
	blocks, checks, err := s.store.OfferZoneKeys(s.zone, algorithm, true, now)
	require.NoError(s.t, err)
	require.NoError(s.t, s.store.ConfirmZoneKeys(s.zone, checks, now))
	return blocks, checks
}

// uses puts the keys in force that the keystore has.
func (s *side) uses(now points.Timestamp) {
	s.old, s.now = s.now, s.store.ZoneRing(s.zone, now.Add(time.Second), 0).Now
}

func (s *side) mac(key *certs.Key) *certs.MAC {
	mac, err := certs.NewMAC(key, s.algorithm)
	require.NoError(s.t, err)
	return mac
}

// hears says what the MAC of a message is like.
func (s *side) hears(d *dialect.Dialect, frame []byte, req *points.Request) string {
	switch {
	case !req.Has(64) && !req.Has(128):
		return "no MAC"
	case s.now.MAC != nil && s.mac(s.now.MAC).Verify(d.Signed(frame, req), req.MAC[:]):
		return "MAC right"
	case s.old.MAC != nil && s.mac(s.old.MAC).Verify(d.Signed(frame, req), req.MAC[:]):
		return "MAC by the keys before"
	default:
		return "MAC WRONG"
	}
}

// zoneStory is a house and the partners that share keys with it.
//
//	keys WHO [as=NAME] [mac=HOW]   WHO sends keys that it drew; "issuer" does so on its link,
//	    [of=N]                     in the name of issuer N
//	replay WHO NAME                ... key blocks that it has sent before
//	wants WHO                      ... nothing, and is sent keys
//	ask WHO FUNCTION amount=N      a request of an acquirer's host; mac=right (the default), none,
//	    [as=] [mac=HOW] [card=]    wrong, foreign (by the other partner's key), before (by the
//	    [pin=N] [format=iso-N]     keys before); a PIN in DE52 or DE125, "spoilt" in one bit
//	    [spoilt]
//	demands                        the terminal demands PINs
//	pays [pin=N]                   a terminal with DES keys asks for a redemption of the issuer
//	undo NAME, close WHO           its reversal; the totals of the day
//	hears NAME                     the answer to a request that came later
//	up                             the issuer's host connects
//	gets [as=NAME]                 the next message that the issuer is sent, and its PIN
//	takes, refuses CODE            the issuer answers the keys that it is sent
//	says NAME CODE [mac=HOW]       the issuer answers a message
//	silence                        the issuer is sent nothing
//	pin CARD N                     a card of ours gets a PIN
//	wait, crash, books, accounts   as elsewhere
//	refused                        messages refused for their MAC, and answers not believed
type zoneStory struct {
	*remoteStory
	sides    map[string]*side
	acquirer map[string]points.AcquirerID
	shop     map[string]string
	asked    map[string]points.Request
	replies  map[string]*peer
	host     *peer
	offered  points.Request
	blocks   [2]string
	till     *keyed
	serial   points.STAN // of the till, whose numbers go on
}

// Stories of partners that share keys with us, from bytes to bytes. After each, the journal
// proves right and the log names no card, no PIN and no key block.
func TestZoneFlows(t *testing.T) {
	datadriven.Walk(t, "testdata/zones", func(t *testing.T, path string) {
		rivalBy := certs.RetailMAC
		if filepath.Base(path) == "hmac.txt" {
			rivalBy = certs.HMAC
		}
		s := newZoneStoryBy(t, rivalBy)
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			s.t, s.h.t, s.there.t = t, t, t
			return s.act(td)
		})
		s.h.verify()
		s.there.hangUp()
		s.h.stop()
		requireNoCards(t, s.h.log.text())
		for _, side := range s.sides {
			for _, sent := range side.sent {
				require.NotContains(t, s.h.log.text(), sent[0][16:60], "a key block")
			}
		}
	})
}

func newZoneStory(t testing.TB) *zoneStory { return newZoneStoryBy(t, certs.RetailMAC) }

// newZoneStoryBy is a story whose rival makes its MACs by.
func newZoneStoryBy(t testing.TB, rivalBy certs.MACAlgorithm) *zoneStory {
	dir := t.TempDir()
	store := vaultIn(t, dir, map[string]certs.Algorithm{"T1": certs.TDES})
	s := &zoneStory{
		sides:    make(map[string]*side),
		acquirer: map[string]points.AcquirerID{"mall": partner, "rival": rival},
		shop:     map[string]string{"mall": "MALL", "rival": "YARD"},
		asked:    make(map[string]points.Request), replies: make(map[string]*peer),
	}
	rules := make(map[certs.Zone]pointswitch.ZoneRules)
	for who, zone := range map[string]certs.Zone{
		"mall":   {Role: certs.RoleAcquirer, ID: uint64(partner)},
		"rival":  {Role: certs.RoleAcquirer, ID: uint64(rival)},
		"issuer": {Role: certs.RoleIssuer, ID: uint64(remote)},
	} {
		by := certs.CMAC
		if who == "rival" {
			by = rivalBy
		}
		s.sides[who] = meet(t, store, zone, who[0], by)
		rules[zone] = pointswitch.ZoneRules{MAC: by}
	}
	there := newHost(t)
	profile := far(there.address)
	profile.Zone, profile.KeyLife = remote, 24*time.Hour
	h := &house{
		t: t, dir: t.TempDir(), cardKey: certs.NewCardKey([32]byte{1, 2, 3}), log: newLines(),
		links: []pointswitch.LinkProfile{profile}, vault: dir, rules: rules,
	}
	h.begin()
	h.furnishFar()
	h.put(
		book.Entry{Acquirer: &book.Acquirer{ID: rival, Name: "Rival", Status: book.Active}},
		book.Entry{Merchant: &book.Merchant{ID: parseMerchant(t, "YARD"), Acquirer: rival, Name: "Yard", Status: book.Active, Programs: []points.ProgramID{901}}},
		book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"), Status: book.Active, MAC: book.MACByXOR}},
	)
	s.remoteStory = &remoteStory{
		story: story{t: t, h: h, pos: dialect.Pos(), host: dialect.Host(), peers: make(map[string]*peer), sent: make(map[string]*sent)},
		there: there, told: make(map[string]points.Request),
	}
	return s
}

func (s *zoneStory) act(td *datadriven.TestData) string {
	who := ""
	if len(td.CmdArgs) > 0 {
		who = td.CmdArgs[0].Key
	}
	switch td.Cmd {
	case "keys":
		return s.keys(td, who)
	case "replay":
		sent := s.sides[who].sent[td.CmdArgs[1].Key]
		return s.change(td, who, sent[0], sent[1])
	case "wants":
		return s.wants(td, who)
	case "ask":
		return s.asks(td, who)
	case "pays":
		return s.pays(td)
	case "undo":
		return s.undoes(who)
	case "close":
		return s.closes(who)
	case "hears":
		return s.reads(who, s.replies[who])
	case "up":
		s.h.up(s.there)
		return s.h.linkStates()
	case "demands":
		s.h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(s.t, "T1"), Merchant: parseMerchant(s.t, "SHOP"), Status: book.Active, MAC: book.MACByXOR, PIN: book.PINDemanded}})
		return ""
	case "gets":
		return s.gets(td)
	case "takes":
		return s.takes(points.Approved)
	case "refuses":
		return s.takes(points.FunctionDisabled)
	case "says":
		return s.says(td, who)
	case "pin":
		s.setPIN(who, td.CmdArgs[1].Key)
		return ""
	case "crash":
		s.h.crash()
		s.there.hangUp()
		s.there.inbox, s.host = nil, nil
		s.there.listen(s.there.address)
		s.h.start()
		return ""
	case "refused":
		return s.refused()
	case "accounts", "silence", "wait", "books":
		return s.remoteStory.act(td)
	default:
		td.Fatalf(s.t, "unknown command %s", td.Cmd)
		return ""
	}
}

// how a message is to be signed.
func how(td *datadriven.TestData) string {
	way := "right"
	for _, arg := range td.CmdArgs {
		if arg.Key == "mac" {
			way = arg.Vals[0]
		}
	}
	return way
}

// frame writes req with a MAC as way says.
func (s *zoneStory) frame(who, way string, req *points.Request, blocks, checks string) []byte {
	s.t.Helper()
	side := s.sides[who]
	keys := side.now
	switch way {
	case "foreign":
		for other, another := range s.sides {
			if other == who || another.algorithm != side.algorithm {
				continue
			}
			if another.now.MAC == nil {
				another.draws(s.h.clock())
				another.uses(s.h.clock())
			}
			keys = another.now
		}
	case "before":
		keys = side.old
	case "none":
		keys = certs.ZoneKeys{}
	}
	if keys.MAC != nil {
		req.Mark(64)
	}
	var frame []byte
	var err error
	if req.Function == points.KeyChange {
		frame, err = s.story.host.AppendKeyChange(nil, req, blocks, checks)
	} else {
		frame, err = s.story.host.AppendRequest(nil, req)
	}
	require.NoError(s.t, err)
	if keys.MAC != nil {
		s.story.host.Sign(frame, req, side.mac(keys.MAC))
		if way == "wrong" {
			frame[len(frame)-1] ^= 1
		}
	}
	return frame
}

// next is a message of an acquirer's host.
func (s *zoneStory) next(who string, f points.Function) points.Request {
	s.stan++
	return points.Request{Function: f, STAN: s.stan, Transmission: s.stampNow(), Acquirer: s.acquirer[who]}
}

// sends sends a message on the acquirers' line.
func (s *zoneStory) sends(frame []byte) *peer {
	if s.host == nil {
		s.host = s.h.dial(s.h.host)
	}
	s.host.t = s.t
	s.host.send(frame)
	return s.host
}

func (s *zoneStory) reads(who string, from *peer) string {
	frame := from.receive()
	require.NotNil(s.t, frame, "no answer")
	var echo points.Request
	var resp points.Response
	require.NoError(s.t, s.story.host.DecodeResponse(frame, &echo, &resp))
	side := s.sides[who]
	if side == nil {
		side = s.sides["mall"]
	}
	out := fmt.Sprintf("%04d %s, %s", echo.Envelope.MTI, resp.Reason.DE39(), side.hears(s.story.host, frame, &echo))
	if resp.Field != 0 {
		out += fmt.Sprintf(", field %d", resp.Field)
	}
	s.blocks = [2]string{resp.List, resp.Check}
	return out + "\n"
}

func (s *zoneStory) keys(td *datadriven.TestData, who string) string {
	side := s.sides[who]
	now := s.h.clock()
	blocks, checks := side.draws(now)
	name := "last"
	td.MaybeScanArgs(s.t, "as", &name)
	side.sent[name] = [2]string{blocks, checks}
	out := s.change(td, who, blocks, checks)
	if s.blocks[1] == checks {
		side.uses(now)
		out = strings.TrimSuffix(out, "\n") + ", its check values\n"
	}
	return out
}

// change sends key blocks and reads the answer.
func (s *zoneStory) change(td *datadriven.TestData, who, blocks, checks string) string {
	if who != "issuer" {
		req := s.next(who, points.KeyChange)
		return s.reads(who, s.sends(s.frame(who, how(td), &req, blocks, checks)))
	}
	s.there.stan++
	req := points.Request{Function: points.KeyChange, STAN: s.there.stan, Transmission: s.stampNow(), Issuer: remote}
	for _, arg := range td.CmdArgs {
		if arg.Key == "of" {
			req.Issuer = points.IssuerID(integer(s.t, arg.Vals[0]))
		}
	}
	s.there.peer.send(s.frame(who, how(td), &req, blocks, checks))
	out := s.reads(who, s.there.peer)
	s.h.round()
	return out
}

// wants asks for keys and takes those that come.
func (s *zoneStory) wants(td *datadriven.TestData, who string) string {
	side := s.sides[who]
	out := s.change(td, who, "", "")
	if s.blocks[0] == "" {
		return out
	}
	now := s.h.clock()
	_, err := side.store.TakeZoneKeys(side.zone, side.algorithm, []byte(s.blocks[0]), []byte(s.blocks[1]), now)
	require.NoError(s.t, err)
	side.uses(now)
	return strings.TrimSuffix(out, "\n") + ", with keys\n"
}

func (s *zoneStory) asks(td *datadriven.TestData, who string) string {
	var f points.Function
	require.NoError(s.t, f.UnmarshalText([]byte(td.CmdArgs[1].Key)))
	req := s.next(who, f)
	if f != points.Echo {
		req.Terminal, req.Merchant, req.EntryMode = parseTerminal(s.t, "H1"), parseMerchant(s.t, s.shop[who]), 21
		req.Program, req.PAN = 901, parsePAN(s.t, cards()["B"])
	}
	name, pin, format := who, "", certs.PINFormat4
	for _, arg := range td.CmdArgs[2:] {
		switch arg.Key {
		case "amount":
			req.Amount = points.Amount(integer(s.t, arg.Vals[0]))
		case "card":
			if req.PAN = parsePAN(s.t, cards()[arg.Vals[0]]); arg.Vals[0] == "remote" {
				req.Program = 903
			}
		case "merchant":
			req.Merchant = parseMerchant(s.t, arg.Vals[0])
		case "as":
			name = arg.Vals[0]
		case "pin":
			pin = arg.Vals[0]
		case "format":
			var err error
			format, err = certs.ParsePINFormat(arg.Vals[0])
			require.NoError(s.t, err)
		}
	}
	if pin != "" {
		s.enters(&req, s.sides[who].now.PIN, pin, format)
	}
	if td.HasArg("spoilt") {
		req.PIN[3] ^= 1
	}
	require.NoError(s.t, s.story.host.Complete(&req))
	s.asked[name] = req
	reply := s.sends(s.frame(who, how(td), &req, "", ""))
	if !td.HasArg("later") {
		return s.reads(who, reply)
	}
	s.replies[name] = reply
	s.settles(who)
	return ""
}

// settles waits until what was sent is with the issuer: an echo comes back behind it.
func (s *zoneStory) settles(who string) {
	echo := s.next(who, points.Echo)
	s.sends(s.frame(who, "none", &echo, "", ""))
	frame := s.host.receive()
	mti, ok := s.story.host.MTI(frame)
	require.True(s.t, ok)
	require.EqualValues(s.t, 810, mti, "an answer that came early")
	s.h.view(func(*book.Book) {})
	s.h.round()
}

// enters puts a PIN into a request, enciphered.
func (s *zoneStory) enters(req *points.Request, under *certs.Key, pin string, format certs.PINFormat) {
	key, err := certs.NewPINKey(under)
	require.NoError(s.t, err)
	block, err := key.AppendPINBlock(nil, format, []byte(pin), req.PAN, rand.Reader)
	require.NoError(s.t, err)
	req.PINLen = uint8(copy(req.PIN[:], block))
	if format == certs.PINFormat3 {
		req.Security = 3_600_000_000_000_000
	}
}

func (s *zoneStory) undoes(name string) string {
	first := s.asked[name]
	req := first
	req.Function, req.Reversed, req.Envelope.MTI = points.Reversal, first.Function, 0
	copy(req.Answer[:], "98")
	req.Original = points.Original{Present: true, MTI: first.Envelope.MTI, STAN: first.STAN, Transmission: first.Transmission, Acquirer: first.Acquirer}
	req.Mark(90)
	s.stan++
	req.STAN = s.stan
	return s.reads("mall", s.sends(s.frame("mall", "right", &req, "", "")))
}

func (s *zoneStory) closes(who string) string {
	req := s.next(who, points.BatchClose)
	for _, de := range []int{74, 76, 86, 88} {
		req.Mark(de)
	}
	return s.reads(who, s.sends(s.frame(who, "right", &req, "", "")))
}

// gets tells what the issuer is sent, and the PIN in it.
func (s *zoneStory) gets(td *datadriven.TestData) string {
	req, frame := s.there.next()
	name := "message"
	td.MaybeScanArgs(s.t, "as", &name)
	s.told[name] = req
	side := s.sides["issuer"]
	out := fmt.Sprintf("%04d %v %d, %s", req.Envelope.MTI, req.Function, req.Amount, side.hears(s.story.host, frame, &req))
	if req.Function == points.KeyChange {
		blocks, checks, err := s.story.host.KeyBlocks(frame)
		require.NoError(s.t, err)
		s.offered, s.blocks = req, [2]string{string(blocks), string(checks)}
	}
	if req.PINLen > 0 {
		pin, format := s.clear(&req)
		out += fmt.Sprintf(", PIN %s in format %v", pin, format)
	}
	return out + "\n"
}

// clear finds the PIN in a message to the issuer: all of the story's are tried, since no
// key lets a PIN out in clear.
func (s *zoneStory) clear(req *points.Request) (string, certs.PINFormat) {
	under, err := certs.NewPINKey(s.sides["issuer"].now.PIN)
	require.NoError(s.t, err)
	format := certs.PINFormat4
	if req.PINLen == 8 {
		format = certs.PINFormat0
	}
	key, err := s.sides["issuer"].store.Key(pointswitch.PINVerificationKey, 1)
	require.NoError(s.t, err)
	verifier, err := certs.NewPINVerifier(key)
	require.NoError(s.t, err)
	for _, pin := range []string{"1234", "4711", "0000"} {
		block, err := under.AppendPINBlock(nil, format, []byte(pin), req.PAN, rand.Reader)
		require.NoError(s.t, err)
		want, err := verifier.Value(under, format, block, req.PAN)
		require.NoError(s.t, err)
		if got, err := verifier.Value(under, format, req.PIN[:req.PINLen], req.PAN); err == nil && got == want {
			return pin, format
		}
	}
	return "that cannot be read", format
}

// takes answers the keys that the issuer was sent, and puts them in force there.
func (s *zoneStory) takes(reason points.Reason) string {
	side, now := s.sides["issuer"], s.h.clock()
	resp := points.Response{Reason: reason}
	if reason.Approved() {
		_, err := side.store.TakeZoneKeys(side.zone, side.algorithm, []byte(s.blocks[0]), []byte(s.blocks[1]), now)
		require.NoError(s.t, err)
		resp.Check = s.blocks[1]
	}
	frame := s.story.host.AppendResponse(nil, &s.offered, &resp)
	if side.now.MAC != nil && (s.offered.Has(64) || s.offered.Has(128)) {
		s.story.host.Sign(frame, &s.offered, side.mac(side.now.MAC))
	}
	if reason.Approved() {
		side.uses(now)
	}
	s.there.peer.send(frame)
	s.there.ping()
	s.h.round()
	return s.h.linkStates()
}

// says answers a message as the issuer.
func (s *zoneStory) says(td *datadriven.TestData, name string) string {
	req, side := s.told[name], s.sides["issuer"]
	resp := points.Response{Amount: req.Amount, Program: req.Program}
	for _, reason := range points.Reasons() {
		if reason.DE39() == td.CmdArgs[1].Key {
			resp.Reason = reason
			break
		}
	}
	keys := side.now
	switch how(td) {
	case "none":
		req.Unmark(64)
		req.Unmark(128)
	case "before":
		keys = side.old
	case "foreign":
		keys = s.sides["mall"].now
	}
	frame := s.story.host.AppendResponse(nil, &req, &resp)
	s.story.host.Sign(frame, &req, side.mac(keys.MAC))
	if how(td) == "wrong" {
		frame[len(frame)-1] ^= 1
	}
	from := s.h.ledger.Durable()
	s.there.peer.send(frame)
	s.there.ping()
	s.h.round()
	return fmt.Sprintf("journal +%d\n", s.h.ledger.Durable()-from)
}

// pays asks at a terminal with keys of its own.
func (s *zoneStory) pays(td *datadriven.TestData) string {
	if s.till == nil {
		store, err := certs.OpenKEK("file:"+filepath.Join(s.h.vault, "kek"), rand.Reader)
		require.NoError(s.t, err)
		keys, err := certs.OpenKeystore(filepath.Join(s.h.vault, "keys"), store, rand.Reader)
		require.NoError(s.t, err)
		s.till = s.h.terminal(keys, "T1")
		s.till.stan = s.serial
		require.Equal(s.t, points.Approved, s.till.signsOn(certs.KeySet003).Reason)
	}
	req := s.till.sale(20)
	req.Program, req.PAN = 903, parsePAN(s.t, cards()["remote"])
	if td.HasArg("pin") {
		var pin string
		td.ScanArgs(s.t, "pin", &pin)
		s.till.enters(&req, certs.PINFormat0, pin, req.PAN)
	}
	s.till.peer.send(s.till.frame(&req))
	echo := s.till.next(points.Echo)
	s.till.mac, s.till.pin = nil, nil
	s.till.peer.send(s.till.frame(&echo))
	first := s.till.peer.receive()
	require.NotNil(s.t, first)
	s.serial, s.till = s.till.stan, nil
	if mti, ok := dialect.Pos().MTI(first); ok && mti == 210 {
		return fmt.Sprintf("0210 %s\n", codeOf(s.t, dialect.Pos(), first))
	}
	s.h.view(func(*book.Book) {})
	s.h.round()
	return ""
}

func (s *zoneStory) setPIN(card, pin string) {
	key, err := certs.NewPINKey(s.sides["mall"].now.PIN)
	require.NoError(s.t, err)
	pan := parsePAN(s.t, cards()[card])
	block, err := key.AppendPINBlock(nil, certs.PINFormat4, []byte(pin), pan, rand.Reader)
	require.NoError(s.t, err)
	value, err := s.h.sw.PINValue(key, certs.PINFormat4, block, pan)
	require.NoError(s.t, err)
	var token points.CardToken
	s.h.cardKey.Token(&token, pan)
	s.h.do(book.Command{Kind: book.KindPIN, Card: token, PINValue: value, Limit: 3, Operator: "anna"})
}

// refused lists the counters of MACs that are above zero.
func (s *zoneStory) refused() string {
	families, err := s.h.registry.Gather()
	require.NoError(s.t, err)
	var out strings.Builder
	for _, family := range families {
		for _, m := range family.Metric {
			forged := family.GetName() == "lianfen_issuer_stray_answers_total" && label(m, "kind") == "forged"
			if n := m.GetCounter().GetValue(); n > 0 && (forged || family.GetName() == "lianfen_mac_refused_total") {
				fmt.Fprintf(&out, "%s %s %.0f\n", family.GetName(), label(m, "cause")+label(m, "kind"), n)
			}
		}
	}
	return out.String()
}

func label(m *dto.Metric, name string) string {
	for _, pair := range m.Label {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// What comes over a connection that has shown to be somebody else is answered without a MAC,
// however right its own is: an answer that is signed could be played to its real sender.
func TestForeignRefusalIsNotSigned(t *testing.T) {
	s := newZoneStory(t)
	blocks, checks := s.sides["mall"].draws(s.h.clock())
	exchange := s.next("mall", points.KeyChange)
	s.reads("mall", s.sends(s.frame("mall", "right", &exchange, blocks, checks)))
	s.sides["mall"].uses(s.h.clock())
	for _, c := range []struct {
		shown    certs.Identity
		merchant string
		want     string
	}{
		{certs.AcquirerIdentity(partner), "MALL", "0210 00, MAC right\n"},
		{certs.AcquirerIdentity(partner), "YARD", "0210 03, MAC right\n"},
		{certs.AcquirerIdentity(rival), "MALL", "0210 58, no MAC\n"},
		{certs.AcquirerIdentity(rival), "YARD", "0210 03, no MAC\n"},
		{certs.IssuerIdentity(remote), "YARD", "0210 03, no MAC\n"},
		{certs.TerminalIdentity(rival, parseTerminal(t, "H1")), "MALL", "0210 58, no MAC\n"},
		{certs.TerminalIdentity(partner, parseTerminal(t, "H1")), "YARD", "0210 03, no MAC\n"},
	} {
		door := s.h.listenAs(s.h.sw.Listener("known", s.story.host, points.DoorHost, pointswitch.Rate{}), certs.PlainPeer(c.shown))
		s.h.doors = append(s.h.doors, door)
		req := s.next("mall", points.Redeem)
		req.Terminal, req.Merchant, req.EntryMode = parseTerminal(t, "H1"), parseMerchant(t, c.merchant), 21
		req.Program, req.PAN, req.Amount = 901, parsePAN(t, cards()["B"]), 10
		last := s.h.last()
		p := s.h.dial(door)
		p.send(s.frame("mall", "right", &req, "", ""))
		require.Equal(t, c.want, s.reads("mall", p), "%v at %s", c.shown, c.merchant)
		if c.want != "0210 00, MAC right\n" {
			require.Equal(t, last, s.h.last())
		}
	}
}

// A PIN that nobody here can read is not passed on, nor is its issuer asked without it: where
// a terminal has no keys, or the issuer has none with us.
func TestPINThatCannotBePassedOn(t *testing.T) {
	s := newZoneStory(t)
	kek, err := certs.OpenKEK("file:"+filepath.Join(s.h.vault, "kek"), rand.Reader)
	require.NoError(t, err)
	store, err := certs.OpenKeystore(filepath.Join(s.h.vault, "keys"), kek, rand.Reader)
	require.NoError(t, err)
	s.h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"), Status: book.Active, MAC: book.MACByXOR, MACOptional: true}})
	till := s.h.terminal(store, "T1")
	asks := func() points.Reason {
		req := till.sale(20)
		req.Program, req.PAN, req.PINLen, req.Security = 903, parsePAN(t, cards()["remote"]), 8, 2_600_000_000_000_000
		copy(req.PIN[:], "unkeyed!")
		if till.pin != nil {
			till.enters(&req, certs.PINFormat0, "1234", req.PAN)
		}
		return till.sends(till.frame(&req)).Reason
	}
	last := s.h.last()
	require.Equal(t, points.BadPINFormat, asks())
	require.Equal(t, points.Approved, till.signsOn(certs.KeySet003).Reason)
	require.Equal(t, points.FunctionDisabled, asks(), "the issuer has no keys")
	require.Equal(t, last+1, s.h.last(), "the sign-on alone")
}
