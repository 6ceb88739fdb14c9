package main

import (
	"bytes"
	"crypto/des"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math/bits"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// PINs of the secret day: long ones, that stand nowhere by chance.
const (
	secretCard = "9555100000000031"
	rightPIN   = "739105528461"
	wrongPIN   = "739105528462"
)

// secretDay is a day of terminals with keys: MACs and PINs that are right and wrong.
const secretDay = `
terminals:
  - {id: T0000005, merchant: M00000000000001, keys: "003"}
  - {id: T0000006, merchant: M00000000000003, keys: aes-128}
cards: {cai: "9555100000000031"}
steps:
  - {send: sign_on}
  - {send: sign_on, terminal: T0000006}
  - {send: earn, card: cai, program: 901, amount: 900}
  - {send: redeem, card: cai, program: 901, amount: 50, pin: "739105528461", as: tea}
  - {send: redeem, terminal: T0000006, card: cai, program: 901, amount: 60, pin: "739105528461"}
  - {send: redeem, card: cai, program: 901, amount: 40, mac: wrong, expect: {code: A0}}
  - {send: redeem, terminal: T0000006, card: cai, program: 901, amount: 40, mac: none, expect: {code: A0}}
  - {send: sign_on}
  - {send: redeem, card: cai, program: 901, amount: 301, pin: "739105528461", expect: {code: "61"}}
  - {repeat: tea, expect: {code: A0}}
  - {send: redeem, terminal: T0000006, card: cai, program: 901, amount: 25, pin: "739105528462", expect: {code: "55"}}
  - {send: redeem, card: cai, program: 901, amount: 25, pin: "739105528462", expect: {code: "55"}}
  - {send: balance, terminal: T0000006, card: cai, program: 901, pin: "739105528462", expect: {code: "55"}}
  - {send: redeem, card: cai, program: 901, amount: 25, pin: "739105528461", expect: {code: "75"}}
  - {send: sign_off}
`

// keyForms are the ways in which a key could stand: whole, and each eight bytes of it.
func keyForms(key []byte) []form {
	all := octetForms("octets", key)
	for i := 0; i+8 <= len(key) && len(key) > 8; i += 8 {
		all = append(all, octetForms("a part, octets", key[i:i+8])...)
	}
	return all
}

// pinForms are the ways in which a PIN could stand: as digits, as the bytes that its
// digits are, as binary-coded decimals, and as the plain field of a block of each format,
// before and after the card number is XORed in.
func pinForms(pin, card string) []form {
	digits := make([]byte, len(pin))
	for i := range pin {
		digits[i] = pin[i] - '0'
	}
	all := append(octetForms("text", []byte(pin)), octetForms("digits", digits)...)
	all = append(all, octetForms("binary-coded decimals", bcd(pin))...)
	pan := bcd("0000" + card[len(card)-13:len(card)-1])
	for _, control := range []string{"0", "3", "4"} {
		field := bcd(control + "C" + pin)
		field[0] = (control[0]-'0')<<4 | byte(len(pin))
		all = append(all, octetForms("a plain block of format "+control, field)...)
		xored := append(append([]byte(nil), field...), 0xFF)
		for i := range xored {
			xored[i] ^= pan[i]
		}
		all = append(all, octetForms("a block of format "+control+" with the card", xored)...)
	}
	return all
}

// passwordForms are those of a text that a person or a program knows.
func passwordForms(text string) []form { return octetForms("text", []byte(text)) }

// secretKeys are the keys of a keystore that the test has drawn itself, by their names.
type secretKeys map[string][]byte

// remake makes the keystore of a prepared folder anew, of keys that the test knows.
func remake(t *testing.T, dir string) secretKeys {
	t.Helper()
	kekFile := filepath.Join(dir, "kek.key")
	text, err := os.ReadFile(kekFile)
	require.NoError(t, err)
	known := secretKeys{}
	known["kek"], err = hex.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	for _, name := range []string{"keys.store", "keys.store.generation"} {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	kek, err := certs.OpenKEK("file:"+kekFile, rand.Reader)
	require.NoError(t, err)
	store, err := certs.CreateKeystore(filepath.Join(dir, "keys.store"), kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, store.Update(func(c *certs.Changes) error {
		for _, want := range []certs.NewKey{
			{Name: "working", Usage: certs.WorkingDerivation, Algorithm: certs.AES256},
			{Name: "pin-verification", Usage: certs.PINVerification, Algorithm: certs.AES256},
			{Name: "pin-entry", Usage: certs.ZonePIN, Algorithm: certs.AES256},
			{Name: "tmk/M00000000000001/T0000005", Usage: certs.TerminalMaster, Algorithm: certs.TDES},
			{Name: "tmk/M00000000000003/T0000006", Usage: certs.TerminalMaster, Algorithm: certs.AES128},
		} {
			key := make([]byte, map[certs.Algorithm]int{certs.AES256: 32, certs.TDES: 16, certs.AES128: 16}[want.Algorithm])
			_, err := rand.Read(key)
			require.NoError(t, err)
			if want.Algorithm == certs.TDES {
				odd(key)
			}
			components, err := certs.NewComponents(want.Algorithm)
			require.NoError(t, err)
			part := bytes.Repeat([]byte{0x10}, len(key)) // Bits that are no parity's.
			other := make([]byte, len(key))
			for i := range key {
				other[i] = key[i] ^ part[i]
			}
			for _, one := range [][]byte{part, other} {
				_, err = components.Add([]byte(hex.EncodeToString(one)))
				require.NoError(t, err)
			}
			imported, err := components.Key()
			require.NoError(t, err)
			if _, err := c.Import(want, imported); err != nil {
				return err
			}
			known[want.Name] = key
		}
		return nil
	}))
	return known
}

// odd gives every byte of a DES key its parity.
func odd(key []byte) {
	for i := range key {
		key[i] = key[i]&^1 | byte(^bits.OnesCount8(key[i]&^1)&1)
	}
}

// workingKeys are the PIN, MAC and track key that a sign-on has given, worked out here
// from what package certs says of them; their check value in DES is looked at.
func workingKeys(t *testing.T, known secretKeys, set certs.KeySet, who sim.Identity, signOn *points.Response) [][]byte {
	t.Helper()
	var keys [][]byte
	sizes := map[certs.KeySet][]int{certs.KeySet003: {16, 8}, certs.KeySetAES128: {16, 16, 16}}[set]
	for i, usage := range []certs.Usage{certs.PINWorking, certs.MACWorking, certs.TrackWorking}[:len(sizes)] {
		info := append([]byte("lianfen working key 1\x00"), byte(usage), byte(set))
		info = append(append(info, who.Merchant[:]...), who.Terminal[:]...)
		info = binary.BigEndian.AppendUint64(info, uint64(signOn.Position))
		key, err := hkdf.Expand(sha256.New, known["working"], string(info), sizes[i])
		require.NoError(t, err)
		if set == certs.KeySet003 {
			odd(key)
		}
		keys = append(keys, key)
	}
	if set == certs.KeySet003 {
		block, err := des.NewCipher(keys[1])
		require.NoError(t, err)
		check := make([]byte, 8)
		block.Encrypt(check, check)
		require.Equal(t, signOn.List[36:40], string(check[:4]), "these are not the keys that were given")
	}
	return keys
}

// workingOf are all working keys that the sign-ons of a receipts file have given.
func workingOf(t *testing.T, known secretKeys, receipts string) map[string][]form {
	t.Helper()
	secrets := map[string][]form{}
	require.NoError(t, eachReceipt(receipts, func(_ int, kept *keptReceipt, _ []byte) error {
		if kept.Function != points.SignOn {
			return nil
		}
		got, err := hex.DecodeString(kept.Got)
		require.NoError(t, err)
		var echo points.Request
		var answer points.Response
		require.NoError(t, dialect.Pos().DecodeResponse(got, &echo, &answer))
		set := certs.KeySet003
		if kept.Terminal.String() == "T0000006" {
			set = certs.KeySetAES128
		}
		for i, key := range workingKeys(t, known, set, sim.Identity{Terminal: kept.Terminal, Merchant: kept.Merchant}, &answer) {
			secrets["working key "+string(rune('1'+i))+" of "+kept.Terminal.String()+" at "+kept.STAN] = keyForms(key)
		}
		return nil
	}))
	require.Len(t, secrets, 2+2+3)
	return secrets
}

// enrolled lets somebody enrol and sign in, and returns what is secret of it.
func enrolled(t *testing.T, door, by *app.Client, name string, roles book.Roles, secrets map[string][]form) *app.Client {
	t.Helper()
	changed, err := by.PutOperator(t.Context(), app.OperatorChange{Name: name, Roles: roles, Invite: true})
	require.NoError(t, err)
	password := "long way to the sea, " + rand.Text()
	joined, err := door.Join(t.Context(), app.Joining{Name: name, Code: changed.Code, Password: points.Secret(password)})
	require.NoError(t, err)
	code, err := certs.OneTimeCode(string(joined.URI), now().Time())
	require.NoError(t, err)
	session, err := door.Login(t.Context(), app.SignIn{Name: name, Password: points.Secret(password), Code: points.Secret(code)})
	require.NoError(t, err)
	personSecrets(t, secrets, name, password, string(joined.URI), string(session.Token))
	secrets["invitation of "+name] = passwordForms(string(changed.Code))
	return door.In(string(session.Token))
}

// personSecrets adds what only an operator knows.
func personSecrets(t *testing.T, secrets map[string][]form, name, password, uri, token string) {
	t.Helper()
	parsed, err := url.Parse(uri)
	require.NoError(t, err)
	secret := parsed.Query().Get("secret")
	octets, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	require.NoError(t, err)
	secrets["password of "+name] = passwordForms(password)
	secrets["sign-in of "+name] = passwordForms(token)
	secrets["one-time codes of "+name] = append(passwordForms(secret), octetForms("octets", octets)...)
}

// No key, PIN, password or secret of one-time codes leaves the switch or its commands, in
// clear or in any other writing, after a day of terminals with keys, PINs, operators and
// rules: not in the log at its most talkative, not in metrics, in no output for people or
// machines, and not in a file of the store. Keys are the master keys, those that they and
// the working keys are under and follow from, and every working key of every sign-on.
func TestNoKeyPINOrPasswordInClear(t *testing.T) {
	dir, outside := filepath.Join(t.TempDir(), "s"), t.TempDir()
	require.NoError(t, prepare(dir))
	known := remake(t, dir)
	d := startDaemon(t, dir, "log.level=debug", "admin.owner=lihua")
	s := d.ready(t)
	secrets := secretsOfTheDay(t, dir)
	for name, key := range known {
		secrets["key "+name] = keyForms(key)
	}
	for _, pin := range []string{rightPIN, wrongPIN} {
		secrets["PIN "+pin] = pinForms(pin, secretCard)
	}
	var said bytes.Buffer
	tellWith := func(stdin string, want int, args ...string) {
		stdout, stderr, status := lianfenWith(t, stdin, args...)
		require.Equal(t, want, status, "%v: %s%s", args, stdout, stderr)
		said.WriteString(stdout + stderr)
	}
	tell := func(want int, args ...string) { tellWith("", want, args...) }
	configuration := "--config=" + filepath.Join(dir, "lianfen.yaml")
	keystore := []string{"--keystore", filepath.Join(dir, "keys.store"), "--kek", "file:" + filepath.Join(dir, "kek.key")}
	tell(exitOK, "admin", "load", configuration, dayDirectory)

	door := app.NewClient(filepath.Join(dir, "admin.sock"))
	maker := enrolled(t, door, door, "lihua", book.RoleAdmin|book.RoleOperator|book.RoleApprover, secrets)
	checker := enrolled(t, door, maker, "wangwei", book.RoleApprover, secrets)
	_, err := door.Login(t.Context(), app.SignIn{Name: "wangwei", Password: "guess and guess again", Code: "000000"})
	require.Error(t, err)
	said.WriteString(err.Error())
	secrets["a password that was guessed"] = passwordForms("guess and guess again")

	tellWith(rightPIN+"\n", exitOK, "admin", "pin", "set", configuration, "--card", secretCard, "--operator", "lihua", "--tries", "3")
	tellWith("12x"+rightPIN+"\n", exitFault, "admin", "pin", "set", configuration, "--card", secretCard, "--operator", "lihua")
	rules := filepath.Join(outside, "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte("version: 1\nrules:\n  - {name: large, programs: [901], measure: amount, window: transaction, limit: 300, action: decline}\n"), 0o600))
	tell(exitOK, "risk", "set", configuration, "--file", rules, "--operator", "lihua", "--note", "spring")
	require.Contains(t, said.String(), "A second person has until")
	waits, err := maker.Pending(t.Context())
	require.NoError(t, err)
	require.Len(t, waits, 2) // The PIN and the rules.
	for _, wait := range waits {
		_, err = checker.Approve(t.Context(), app.Decision{RRN: wait.RRN})
		require.NoError(t, err)
	}
	day, receipts := filepath.Join(outside, "day.yaml"), filepath.Join(outside, "receipts.jsonl")
	require.NoError(t, os.WriteFile(day, []byte(secretDay), 0o600))
	tell(exitOK, append([]string{"pos", "--addr", s.Listeners["pos"], "--script", day, "--receipts", receipts, "--json"}, keystore...)...)
	once := append([]string{"pos", "balance", "--addr", s.Listeners["pos"], "--terminal", "T0000005", "--card", secretCard, "--pin", "--keys", "001"}, keystore...)
	tellWith(wrongPIN+"\n", exitFault, once...)
	tell(exitOK, "admin", "pin", "show", configuration, "--card", secretCard, "--json")
	tell(exitOK, "admin", "pin", "unlock", configuration, "--card", secretCard, "--operator", "lihua", "--note", "case 18")
	tell(exitOK, append([]string{"keys", "list", "--json"}, keystore...)...)
	tell(exitOK, append([]string{"keys", "list"}, keystore...)...)

	done, err := maker.Adjust(t.Context(), app.Adjustment{Holder: app.Holder{Member: 1003}, Program: 901, Amount: 200, Note: "case 19"})
	require.NoError(t, err)
	tell(exitOK, "admin", "pending", configuration, "--json")
	_, err = checker.Approve(t.Context(), app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	for _, args := range [][]string{
		{"admin", "operator", "list"},
		{"admin", "whoami"},
		{"admin", "status"},
		{"admin", "list"},
		{"admin", "pending"},
		{"risk", "list"},
		{"risk", "flags", "--from", "2000-01-01", "--to", "2999-01-01"},
		{"ledger", "verify"},
		{"ledger", "statement", "--card", secretCard},
	} {
		tell(exitOK, append(args, configuration)...)
		tell(exitOK, append(args, configuration, "--json")...)
	}
	for position := 1; position <= int(positionBy(t, maker)); position++ {
		tell(exitOK, "ledger", "show", configuration, "--json", string(rrnText(position)))
	}
	for _, format := range []string{"jsonl", "csv", "hledger"} {
		tell(exitOK, "ledger", "export", configuration, "--from", "2020-01-01", "--to", "2099-12-31", "--format", format)
	}
	tell(exitOK, "ledger", "backup", filepath.Join(dir, "backup"), configuration)
	said.Write(page(t, "http://"+s.HTTP+"/metrics"))
	lives := filesOf(t, dir)
	d.terminate(t)
	require.Contains(t, d.stderr.String(), "reason=wrong_pin")
	require.Contains(t, d.stderr.String(), "reason=bad_mac")
	require.Contains(t, said.String(), "over_amount_limit")
	maps.Copy(secrets, workingOf(t, known, receipts))
	lives["the store, unpacked"] = keptIn(t, filepath.Join(dir, "store"))
	lives["the log"], lives["what was said"] = d.stderr.Bytes(), said.Bytes()
	for name, content := range filesOf(t, dir) {
		lives[name+", after the end"] = content
	}
	requireSecret(t, secrets, lives)
}

func rrnText(position int) []byte {
	rrn := points.Position(position).RRN()
	return rrn[:]
}

// positionBy is the last position, as an operator sees it.
func positionBy(t *testing.T, client *app.Client) points.Position {
	t.Helper()
	status, err := client.Status(t.Context())
	require.NoError(t, err)
	return status.Position
}

// The whole demonstration, at its most talkative, shows no PIN, and nothing that its
// operators know, in its tables, its JSON, its log and its folder.
func TestDemoShowsNoSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	var people, machines bytes.Buffer
	d := demo{out: &people, dir: dir, logs: filepath.Join(dir, "lianfen.log"), sets: []string{"log.level=debug"}}
	require.NoError(t, d.run(t.Context()), people.String())
	require.NoError(t, writeJSON(&machines, d.report))
	secrets := secretsOfTheDay(t, dir)
	require.Len(t, d.people, 2)
	for _, p := range d.people {
		personSecrets(t, secrets, p.name, string(p.password), string(p.uri), string(p.token))
	}
	for _, pin := range []string{demoPIN, "73910553", "73910554", "73910555"} {
		secrets["PIN "+pin] = []form{{"text", []byte(pin)}}
	}
	kept := filesOf(t, dir)
	require.Contains(t, string(kept["lianfen.log"]), "reason=wrong_pin")
	c, err := config.Load(filepath.Join(dir, config.FileName), nil, nil)
	require.NoError(t, err)
	kept["the store, unpacked"] = keptIn(t, c.Data)
	kept["tables"], kept["json"] = people.Bytes(), machines.Bytes()
	requireSecret(t, secrets, kept)
}
