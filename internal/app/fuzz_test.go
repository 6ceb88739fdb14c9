package app_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
)

// Any body at the admin door and at that of enrolment is refused with a sentence, or is
// read whole: what was read is read the same when it is sent again.
func FuzzBodies(f *testing.F) {
	for _, text := range []string{
		`{"name":"li","password":"x","code":"123456"}`, `{"card":"6222020000000000017"}`, `{"two_persons":"keys,policy,operators","hours":8}`,
		`{"act":"rotate","name":"working","from":1}`, `{"rrn":"000000000001"}`, `{"issuers":[{"id":1,"name":"x"}]}`, `{"member":1,"program":901,"amount":-5}`,
		`{"code":"7K2M-9QXD-4H8R-T1VW","request":"-----BEGIN"}`, `{"date":"2026-03-01"}`, `{} {}`, `[`, `{"card":6222020000000000017}`, `{"Name":"a","name":"b"}`, "\xff", `null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		taken, err := app.DecodeForTest(text)
		if err != nil {
			require.NotEmpty(t, err.Error())
		}
		for _, in := range taken {
			_, err := json.Marshal(in)
			require.NoError(t, err, "%T", in)
		}
	})
}

// Any text in the place of rules on risk, of a day to try them on, or of a directory is
// refused with its line, or read; nothing panics.
func FuzzDocuments(f *testing.F) {
	for _, path := range []string{"../../testdata/risk/rules.yaml", "../../testdata/risk/day.yaml", "../sim/day/directory.yaml"} {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("rules: [{<<: *a}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("steps: [{send: redeem, amount: 9223372036854775808}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, rulesErr := app.ReadRiskRules(bytes.NewReader(text))
		day, dayErr := app.ReadRiskDay(bytes.NewReader(text))
		if _, err := app.ReadDirectory(bytes.NewReader(text)); err != nil {
			require.NotEmpty(t, err.Error())
		}
		if dayErr == nil && len(day.Steps) <= 50 {
			if rulesErr != nil {
				rules.Rules = nil
			}
			if _, err := app.TryRiskDay(t.Context(), &day, &rules, &rules, 10); err != nil {
				require.NotEmpty(t, err.Error())
			}
		}
	})
}
