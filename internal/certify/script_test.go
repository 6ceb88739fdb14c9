package certify_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/certify"
	"github.com/lianfen/lianfen/testdata/certification"
)

// The program's own scripts are read, and each names everything in both languages.
func TestOwnScripts(t *testing.T) {
	for profile, least := range map[certify.Profile]int{certify.ProfilePOS: 60, certify.ProfileIssuer: 30} {
		scripts, err := certify.ReadScripts(certification.Files, profile)
		require.NoError(t, err)
		cases := 0
		for _, script := range scripts {
			cases += len(script.Cases)
		}
		require.GreaterOrEqual(t, cases, least, profile)
	}
}

// A script that cannot be played is refused with the line where it is wrong.
func TestReadScript(t *testing.T) {
	const head = "profile: pos\ntitle: T\ntitle_zh: 题\n"
	const one = head + "cases:\n  - id: a\n    title: A\n    title_zh: 甲\n    steps:\n"
	for _, c := range []struct{ name, text, wrong string }{
		{"one step", one + "      - {send: echo}", ""},
		{"nothing", "", "a.yaml: EOF"},
		{"no profile", "title: T\n", `profile ""`},
		{"no case", head, "at least one case"},
		{"no Chinese", head + "cases: [{id: a, title: A, steps: [{send: echo}]}]", "case 1 (a): id, title, title_zh"},
		{"unknown key", one + "      - {send: echo, amuont: 5}", `line 9: unknown key "amuont"`},
		{"unknown expectation", one + "      - {send: echo, expect: {cod: '00'}}", `line 9: unknown key "cod"`},
		{"unknown function", one + "      - {send: gamble}", `case a: line 9: step 1: function "gamble"`},
		{"nothing to do", one + "      - {title: rest}", "line 9: step 1: 0 of send, repeat"},
		{"two things", one + "      - {send: echo, raw: '00'}", "line 9: step 1: 2 of send, repeat"},
		{"no original", one + "      - {send: echo}\n      - {send: void, of: lunch}", `line 10: step 2: of: no earlier step is called "lunch"`},
		{"no first", one + "      - {repeat: lunch}", `repeat: no earlier step is called "lunch"`},
		{"same as what", one + "      - {send: echo, expect: {same: lunch}}", `same: no earlier step is called "lunch"`},
		{"its own name", one + "      - {send: void, of: me, as: me}", `of: no earlier step is called "me"`},
		{"reversal of nothing", one + "      - {send: reversal}", "a reversal says of which step"},
		{"no digits", one + "      - {raw: xyz}", `"xyz" is not hexadecimal`},
		{"field without digits", one + "      - {send: echo, wire: {4: q}}", `"q" is not hexadecimal`},
		{"message type", one + "      - {send: echo, mti: '82'}", `message type "82"`},
		{"expected message type", one + "      - {send: echo, expect: {mti: abcd}}", `message type "abcd"`},
		{"outcome", one + "      - {send: echo, expect: {outcome: [closed, loud]}}", `outcome "loud"`},
		{"code", one + "      - {send: echo, expect: {code: '0'}}", `code "0"`},
		{"pattern", one + "      - {send: echo, expect: {format: {37: '('}}}", "format of DE37"},
		{"capture", one + "      - {send: echo, expect: {capture: {x: mood}}}", "capture x: mood"},
		{"two signs", one + "      - {send: echo, amount: a - - b}", "line 9: expression \"a - - b\": two signs"},
		{"no sign", one + "      - {send: echo, amount: a b}", "no sign before b"},
		{"no end", one + "      - {send: echo, amount: a +}", "ends where"},
		{"no name", one + "      - {send: echo, amount: a + B}", "B is neither"},
	} {
		t.Run(c.name, func(t *testing.T) {
			script, err := certify.ReadScript("a.yaml", []byte(c.text))
			if c.wrong == "" {
				require.NoError(t, err)
				require.Len(t, script.Cases, 1)
				return
			}
			require.ErrorContains(t, err, c.wrong)
			require.ErrorContains(t, err, "a.yaml")
		})
	}
}

// A folder without scripts of the profile, one of another profile under its name,
// and an id that comes twice are refused.
func TestReadScripts(t *testing.T) {
	file := func(profile, id string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("{profile: " + profile + ", title: T, title_zh: T, cases: [{id: " + id + ", title: T, title_zh: T, steps: [{send: echo}]}]}")}
	}
	_, err := certify.ReadScripts(fstest.MapFS{"issuer.yaml": file("issuer", "a")}, certify.ProfilePOS)
	require.ErrorContains(t, err, "no script of profile pos")
	_, err = certify.ReadScripts(fstest.MapFS{"pos.yaml": file("issuer", "a")}, certify.ProfilePOS)
	require.ErrorContains(t, err, "pos.yaml: profile issuer, want pos")
	_, err = certify.ReadScripts(fstest.MapFS{"pos-1.yaml": file("pos", "a"), "pos-2.yaml": file("pos", "a")}, certify.ProfilePOS)
	require.ErrorContains(t, err, "pos-2.yaml: case a is in pos-1.yaml already")
}
