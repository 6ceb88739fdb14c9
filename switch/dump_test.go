package pointswitch_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	pointswitch "github.com/lianfen/lianfen/switch"
)

// vectorMaster is a terminal's master key that the test knows.
const vectorMaster = "C1E7A9964FB37CE9BD86D55AE8F19BB7"

// requireNoKey looks for six bytes of a key in a row, as Go prints bytes, or eight as the words of
// an expanded key, and the arguments of a traceback, which shows ten of them.
func requireNoKey(t *testing.T, what, text, key string) {
	t.Helper()
	const row, whole = 6, 8
	secret, err := hex.DecodeString(key)
	require.NoError(t, err)
	lower := strings.ToLower(text)
	for i := range len(secret) - row + 1 {
		part := secret[i : i+row]
		forms := []string{hex.EncodeToString(part)}
		for _, spelled := range [][2]string{{"%d", " "}, {"%d", ", "}, {"%x", " "}, {"%#x", ", "}, {"%#x", " "}} {
			var words []string
			for _, b := range part {
				words = append(words, fmt.Sprintf(spelled[0], b))
			}
			forms = append(forms, strings.Join(words, spelled[1]))
		}
		for _, order := range []binary.ByteOrder{binary.BigEndian, binary.LittleEndian} {
			if i+whole > len(secret) {
				break
			}
			part := secret[i : i+whole]
			forms = append(forms, fmt.Sprintf("%d", order.Uint64(part)), fmt.Sprintf("%016x", order.Uint64(part)), fmt.Sprintf("%d %d", order.Uint32(part), order.Uint32(part[4:])))
		}
		for _, form := range forms {
			if strings.Contains(lower, form) {
				t.Fatalf("%s shows a key as %q", what, form)
			}
		}
		if strings.Contains(text, string(part)) {
			t.Fatalf("%s shows a key as it is", what)
		}
	}
}

// While terminals sign on, send messages under working keys and derived ones, and PINs, no
// dump of all goroutines has a byte of a key; nor has anything of the switch that holds
// keys, however it is printed.
func TestNoKeyInADump(t *testing.T) {
	h, d := derivedHouse(t)
	id, at := parseTerminal(t, "M1"), parseMerchant(t, "MALL")
	known(t, d.store, certs.TerminalMasterName(at, id), certs.TerminalMaster, vectorMaster)
	h.put(book.Entry{Terminal: &book.Terminal{ID: id, Merchant: at, Status: book.Active, MAC: book.MACByCMAC}})
	secrets := []string{vectorBase, vectorMAC, vectorPIN, vectorMaster}

	var traffic sync.WaitGroup
	done := make(chan struct{})
	until := func(work func()) {
		traffic.Go(func() {
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
	k := h.terminal(d.store, "T3")
	k.id, k.at = id, at
	until(func() {
		_ = k.signsOn(certs.KeySetAES128)
		_ = k.sells(1)
	})
	first := d.writes(numbered(t, "00000001"), "4711")
	_ = d.sends(first)
	until(func() { _ = d.sends(d.writes(d.next(), "4711")) })
	lines := make(map[string]bool)
	buffer := make([]byte, 4<<20)
	for range 100 {
		for line := range strings.Lines(string(buffer[:runtime.Stack(buffer, true)])) {
			lines[line] = true
		}
		runtime.Gosched()
	}
	close(done)
	traffic.Wait()
	dump := strings.Join(slices.Collect(maps.Keys(lines)), "")
	require.Contains(t, dump, "/switch/link.", "connections are served, whenever one looks")
	for _, secret := range secrets {
		requireNoKey(t, "a dump", dump, secret)
		requireNoKey(t, "the log", h.log.text(), secret)
	}

	_ = k.signsOn(certs.KeySetAES128)
	holders := pointswitch.HoldersForTest(h.sw, numbered(t, "00000001"), h.clock())
	require.Greater(t, len(holders), 9)
	for _, holder := range holders {
		for _, printed := range []any{holder, struct{ Key any }{holder}, struct{ key any }{holder}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
				text := fmt.Sprintf(verb, printed)
				for _, secret := range secrets {
					requireNoKey(t, fmt.Sprintf("%T by %s", holder, verb), text, secret)
				}
			}
		}
	}
}
