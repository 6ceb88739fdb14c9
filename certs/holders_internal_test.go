package certs

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// shownBy is in which notation a text shows six bytes of a secret in a row, as Go prints
// bytes, or eight as the words of an expanded key, and a traceback prints arguments, of which
// it shows ten; "" if it does not. Fewer would be met by chance.
func shownBy(text string, secret []byte) string {
	const row, words = 6, 8
	lower := strings.ToLower(text)
	for i := range len(secret) - row + 1 {
		part := secret[i : i+row]
		if strings.Contains(text, string(part)) {
			return string(part)
		}
		spell := func(format, between string) string {
			var words []string
			for _, b := range part {
				words = append(words, fmt.Sprintf(format, b))
			}
			return strings.Join(words, between)
		}
		forms := []string{hex.EncodeToString(part), spell("%d", " "), spell("%d", ", "), spell("%d", ","), spell("%x", " "), spell("%#x", ", "), spell("%#x", " ")}
		for _, order := range []binary.ByteOrder{binary.BigEndian, binary.LittleEndian} {
			if i+words > len(secret) {
				break
			}
			part := secret[i : i+words]
			whole, first, second := order.Uint64(part), order.Uint32(part), order.Uint32(part[4:])
			forms = append(forms, fmt.Sprintf("%d", whole), fmt.Sprintf("%016x", whole), fmt.Sprintf("%d %d", first, second), fmt.Sprintf("%#x, %#x", first, second))
		}
		for _, form := range forms {
			if strings.Contains(lower, form) {
				return form
			}
		}
	}
	return ""
}

func holdersKey(t *testing.T, usage Usage, algorithm Algorithm) *Key {
	t.Helper()
	key, err := KeyForTest(usage, algorithm, holdersPlain(algorithm.size()))
	require.NoError(t, err)
	return key
}

func holdersPlain(n int) []byte {
	plain, err := hex.DecodeString("AF8CB133A78F8DC2D1359F18527593FBC1E7A9964FB37CE9BD86D55AE8F19BB7")
	if err != nil {
		panic(err)
	}
	return plain[:n]
}

// keyHolders is one of each type of the package that holds keys, and what they hold.
func keyHolders(t *testing.T) (things []any, secrets [][]byte) {
	t.Helper()
	hold := func(all ...any) { things = append(things, all...) }
	keep := func(all ...[]byte) { secrets = append(secrets, all...) }
	keep(holdersPlain(32))
	for by, of := range map[MACAlgorithm]Algorithm{CMAC: AES128, RetailMAC: TDES, XORMAC: TDES, HMAC: HMACSHA256} {
		key := holdersKey(t, MACWorking, of)
		m, err := NewMAC(key, by)
		require.NoError(t, err)
		m.Append(nil, []byte("message"))
		hold(key, *key, m, *m)
		if by == CMAC {
			keep(m.keys().subkeys.whole[:], m.keys().subkeys.padded[:])
		}
	}
	pin, err := NewPINKey(holdersKey(t, PINWorking, AES128))
	require.NoError(t, err)
	verifier, err := NewPINVerifier(holdersKey(t, PINVerification, AES256))
	require.NoError(t, err)
	card := NewCardKey([32]byte(holdersPlain(32)))
	operators := card.Operators()
	keep(operators.halves())
	working, err := DeriveWorkingKeys(holdersKey(t, WorkingDerivation, AES256), KeySetHMAC, points.MerchantID{'M'}, points.TerminalID{'T'}, 7)
	require.NoError(t, err)
	keep(working.PIN.secret(), working.MAC.secret(), working.Track.secret(), working.pad())
	zone := ZoneKeys{MAC: holdersKey(t, ZoneMAC, AES128), PIN: holdersKey(t, ZonePIN, AES128)}
	hold(pin, *pin, verifier, *verifier, card, *card, operators, *operators, working, *working, zone, &zone, ZoneRing{Now: zone, Next: zone}, &ZoneRing{Before: zone})

	components, err := NewComponents(AES128)
	require.NoError(t, err)
	for _, part := range []string{hex.EncodeToString(holdersPlain(16)), strings.Repeat("0", 31) + "1"} {
		_, err = components.Add([]byte(part))
		require.NoError(t, err)
	}
	imported, err := components.Key()
	require.NoError(t, err)
	keep(imported.secret())
	master := holdersKey(t, ZoneMaster, AES256)
	p, err := protectionOf(master)
	require.NoError(t, err)
	block, err := master.block(ZoneMaster)
	require.NoError(t, err)
	keep(deriveUnder(block, AES256, 0), deriveUnder(block, AES256, 1))
	hold(components, *components, imported, *imported, p, *p)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kek"), []byte(hex.EncodeToString(holdersPlain(32))), 0o600))
	kek, err := OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
	require.NoError(t, err)
	store, err := CreateKeystore(filepath.Join(dir, "keys"), kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, store.Update(func(c *Changes) error {
		key, err := c.Import(NewKey{Name: "zmk", Usage: ZoneMaster, Algorithm: AES128}, imported)
		require.NoError(t, err)
		keep(key.secret())
		hold(c, *c)
		return nil
	}))
	hold(kek, store, store.keys.Load(), *store.keys.Load())

	host, err := NewDUKPTHost(2)
	require.NoError(t, err)
	message := new(DUKPTMessage)
	require.NoError(t, host.Derive(message, holdersKey(t, DUKPTBase, AES128), KSN{0: 1, 11: 1}))
	message.Keep()
	for _, key := range message.way.keys()[:2] {
		keep(key[:16])
	}
	way := host.order.Front().Value.(*dukptWay)
	hold(host, message, message.way, way, message.Request(), message.Answer())
	return things, secrets
}

// What holds a key shows nothing of it however it is printed, alone and within something
// else: not by a word that Go has for bytes, nor by one for the words of an expanded key.
func TestHoldersOfKeysShowNone(t *testing.T) {
	things, secrets := keyHolders(t)
	for _, thing := range things {
		var all strings.Builder
		for _, printed := range []any{thing, &thing, struct{ Key any }{thing}, struct{ key any }{thing}, []any{thing}, map[string]any{"key": thing}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%X", "%q", "%p"} {
				_, _ = fmt.Fprintf(&all, verb+"\n", printed)
			}
			slog.New(slog.NewTextHandler(&all, nil)).Info("text", "key", printed)
		}
		for _, secret := range secrets {
			if form := shownBy(all.String(), secret); form != "" {
				t.Fatalf("%T shows what it holds as %q", thing, form)
			}
		}
	}
}

// Each type of the package that holds a key is among those that are printed above: those
// with a cipher, a hidden thing or a pool of keyed hashes, and those with one of these.
func TestEveryHolderOfKeysIsPrinted(t *testing.T) {
	things, _ := keyHolders(t)
	printed := map[string]bool{
		"macKeys":     true,                   // It is within a hidden thing of MAC alone.
		"TokenSigner": true, "tokenKEK": true, // Their keys are in a token.
		"Authority": true, "issuer": true, "Issued": true, // Of certificates: TestIssuedKeyIsNotPrinted.
	}
	for _, thing := range things {
		of := reflect.TypeOf(thing)
		for of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		printed[of.Name()] = true
	}
	fields := fieldsOfStructs(t, ".")
	holders := map[string]bool{"hidden": true, "Block": true, "AEAD": true, "Signer": true, "Pool": true}
	for grown := true; grown; {
		grown = false
		for name, words := range fields {
			for word := range words {
				if holders[word] && !holders[name] {
					holders[name], grown = true, true
				}
			}
		}
	}
	for name := range fields {
		require.Truef(t, !holders[name] || printed[name], "type %s holds keys; have keyHolders make one", name)
	}
}

// fieldsOfStructs is every struct type of a package with the words in the types of its
// fields.
func fieldsOfStructs(t *testing.T, dir string) map[string]map[string]bool {
	t.Helper()
	found := make(map[string]map[string]bool)
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if body, ok := spec.Type.(*ast.StructType); ok {
				found[spec.Name.Name] = make(map[string]bool)
				for _, field := range body.Fields.List {
					ast.Inspect(field.Type, func(n ast.Node) bool {
						if word, ok := n.(*ast.Ident); ok {
							found[spec.Name.Name][word.Name] = true
						}
						return true
					})
				}
			}
			return true
		})
	}
	return found
}

// crashing is a source of randomness that takes down what draws from it.
type crashing struct{}

func (crashing) Read([]byte) (int, error) { panic("no randomness") }

// Neither what a panic leaves in the middle of work with keys, nor dumps of all goroutines
// while others work with them, have anything of a key: none is an argument by value.
func TestNoKeyInATraceback(t *testing.T) {
	_, secrets := keyHolders(t)
	dumps := make(map[string]bool) // lines
	dump := func(text string) {
		for line := range strings.Lines(text) {
			dumps[line] = true
		}
	}
	master, tmk := holdersKey(t, ZoneMaster, AES256), holdersKey(t, TerminalMaster, AES256)
	working, err := DeriveWorkingKeys(holdersKey(t, WorkingDerivation, AES256), KeySetAES256, points.MerchantID{'M'}, points.TerminalID{'T'}, 7)
	require.NoError(t, err)
	secrets = append(secrets, working.PIN.secret(), working.MAC.secret(), working.Track.secret())
	pin, err := NewPINKey(working.PIN)
	require.NoError(t, err)
	pan, err := points.ParsePAN("6222020000000000017")
	require.NoError(t, err)
	for what, work := range map[string]func(){
		"a key block": func() { _, _ = AppendKeyBlock(nil, working.MAC, master, crashing{}) },
		"zone keys":   func() { _, _ = AppendZoneBlocks(ZoneKeys{MAC: holdersKey(t, ZoneMAC, AES128)}, master, crashing{}) },
		"a PIN block": func() { _, _ = pin.AppendPINBlock(nil, PINFormat4, []byte("739182"), pan, crashing{}) },
	} {
		func() {
			defer func() {
				cause := recover()
				require.NotNil(t, cause, what)
				dump(fmt.Sprintf("panic: %v\n%s", cause, debug.Stack()))
			}()
			work()
		}()
	}

	var all sync.WaitGroup
	done := make(chan struct{})
	message := bytes.Repeat([]byte("m"), 4096)
	for _, work := range []func(){
		func() {
			for by, of := range map[MACAlgorithm]Algorithm{CMAC: AES128, RetailMAC: TDES, XORMAC: TDES, HMAC: HMACSHA256} {
				if m, err := NewMAC(holdersKey(t, MACWorking, of), by); err == nil {
					m.Verify(message, m.Append(nil, message))
				}
			}
		},
		func() {
			w, err := DeriveWorkingKeys(holdersKey(t, WorkingDerivation, AES256), KeySetAES256, points.MerchantID{'M'}, points.TerminalID{'T'}, 7)
			if err == nil {
				_, _ = w.AppendWrapped(nil, tmk)
			}
		},
		func() {
			host, err := NewDUKPTHost(2)
			if err == nil {
				_ = host.Derive(new(DUKPTMessage), holdersKey(t, DUKPTBase, AES128), KSN{0: 1, 11: 0x55})
			}
		},
		func() { _, _ = pin.AppendPINBlock(nil, PINFormat4, []byte("739182"), pan, rand.Reader) },
	} {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					work()
				}
			}
		})
	}
	buffer := make([]byte, 1<<20)
	for range 100 {
		dump(string(buffer[:runtime.Stack(buffer, true)]))
		runtime.Gosched()
	}
	close(done)
	all.Wait()
	text := strings.Join(slices.Collect(maps.Keys(dumps)), "")
	require.Contains(t, text, "certs.AppendKeyBlock(")
	for _, secret := range secrets {
		if form := shownBy(text, secret); form != "" {
			t.Fatalf("a traceback shows a key as %q", form)
		}
	}
}
