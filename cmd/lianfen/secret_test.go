package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// form is one way in which a secret could stand somewhere.
type form struct {
	how   string
	bytes []byte
}

// cardForms are the ways in which a card number could stand: as text (tracks have it so
// too), as binary-coded decimals at either alignment, as the number that its digits are,
// and each of them once more in hexadecimal and in base64.
func cardForms(t *testing.T, digits string) []form {
	t.Helper()
	value, err := strconv.ParseUint(digits, 10, 64)
	require.NoError(t, err)
	big := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, value), "\x00")
	little := bytes.TrimRight(binary.LittleEndian.AppendUint64(nil, value), "\x00")
	all := octetForms("text", []byte(digits))
	all = append(all, octetForms("binary-coded decimals, aligned to the left", bcd(digits))...)
	if len(digits)%2 == 1 {
		// Half an octet may be anything, at one end or the other; those between are looked for.
		all = append(all, octetForms("binary-coded decimals, aligned to the right", bcd(digits[1:]))...)
	}
	all = append(all, octetForms("a number", big)...)
	all = append(all, octetForms("a number, little end first", little)...)
	number := strconv.FormatUint(value, 16) // As a stack of calls shows arguments.
	return append(all, form{"a number in hexadecimal", []byte(number)})
}

// octetForms are octets as they are, in hexadecimal, as Go prints them, and in base64 at
// each of its three alignments, less the characters that depend on the neighbours.
func octetForms(how string, octets []byte) []form {
	lower := hex.EncodeToString(octets)
	decimals := make([]string, len(octets))
	for i, o := range octets {
		decimals[i] = strconv.Itoa(int(o))
	}
	all := []form{
		{how, octets},
		{how + " in hexadecimal", []byte(lower)},
		{how + " in hexadecimal", []byte(strings.ToUpper(lower))},
		{how + " as a list of bytes", []byte(strings.Join(decimals, " "))},
		{how + " as a list of bytes", []byte(strings.Join(decimals, ","))},
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			text := encoding.EncodeToString(append(make([]byte, shift), octets...))
			from := (8*shift + 5) / 6
			to := 8 * (shift + len(octets)) / 6
			all = append(all, form{how + " in base64", []byte(text[from:to])})
		}
	}
	return all
}

// found tells how a secret stands in content; "" when it does not.
func found(content []byte, forms []form) string {
	for _, f := range forms {
		if bytes.Contains(content, f.bytes) {
			return "as " + f.how
		}
	}
	return ""
}

// The search finds a card and a key however they are written.
func TestFound(t *testing.T) {
	const card = "6222020000000000017"
	forms := cardForms(t, card)
	require.Empty(t, found([]byte("622202*********0017"), forms))
	octets, err := hex.DecodeString("006222020000000000017F00")
	require.NoError(t, err)
	right, err := hex.DecodeString("000622202000000000001700")
	require.NoError(t, err)
	for _, content := range [][]byte{
		[]byte("card 6222020000000000017."), []byte(";6222020000000000017=2912"), octets, right,
		[]byte(hex.EncodeToString(octets)), []byte(strings.ToUpper(hex.EncodeToString([]byte(card)))),
		[]byte("main.pay(0x56590e396d604011, 0x13)"), binary.LittleEndian.AppendUint64([]byte{1}, 6222020000000000017),
		[]byte(base64.StdEncoding.EncodeToString([]byte("1" + card + "2"))), []byte(base64.URLEncoding.EncodeToString([]byte("12" + card))),
		[]byte(base64.StdEncoding.EncodeToString(octets)),
	} {
		require.NotEmpty(t, found(content, forms), "%q", content)
	}
	key := octetForms("octets", []byte{0xFF, 0x01, 0x02, 0x03, 0x04})
	require.NotEmpty(t, found([]byte("[255 1 2 3 4]"), key))
	require.Empty(t, found([]byte("[255 1 2 4]"), key))
}

// secretsOfTheDay are all card numbers, PIN blocks and keys that a test's day uses, with
// the ways in which each could stand. dir is the folder of the switch.
func secretsOfTheDay(t *testing.T, dir string) map[string][]form {
	t.Helper()
	secrets := map[string][]form{}
	for _, card := range append(cardsOfTheDay(t), "6222021234567890123", "6222021234567890") {
		secrets["card "+card] = cardForms(t, card)
	}
	paths, err := filepath.Glob(filepath.Join(goldenFrames, "*", "*.txt"))
	require.NoError(t, err)
	pins := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, pin := range regexp.MustCompile(`(?m)^PIN: ([0-9A-F]+)$`).FindAllSubmatch(text, -1) {
			block, err := hex.DecodeString(string(bytes.TrimSuffix(pin[1], []byte("0000000000000000"))))
			require.NoError(t, err)
			secrets["PIN block of "+path] = octetForms("octets", block)
			pins++
		}
	}
	require.Positive(t, pins)
	text, err := os.ReadFile(filepath.Join(dir, "card.key"))
	require.NoError(t, err)
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	for i := 0; i < len(key); i += 16 {
		secrets["half of the card key, "+strconv.Itoa(i)] = octetForms("octets", key[i:i+16])
	}
	return secrets
}

// requireSecret wants no secret anywhere; the files of the card key and of the
// key-encryption key are where these belong.
func requireSecret(t *testing.T, secrets map[string][]form, lives map[string][]byte) {
	t.Helper()
	for name, content := range lives {
		if strings.HasPrefix(name, "card.key") || strings.HasPrefix(name, "kek.key") {
			continue
		}
		for secret, forms := range secrets {
			require.Empty(t, found(content, forms), "%s stands in %s", secret, name)
		}
	}
}
