package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// another is a valid value of each key that is not its default.
func another() map[string]string {
	return map[string]string{
		"data":                              "/other/store",
		"card_key":                          "/other/card.key",
		"time_zone":                         "Europe/Berlin",
		"listeners.pos.address":             "0.0.0.0:9000",
		"listeners.pos.dialect":             "host",
		"listeners.pos.max_connections":     "7",
		"listeners.pos.max_per_source":      "7",
		"listeners.pos.first_frame_timeout": "7s",
		"listeners.pos.max_per_identity":    "7",
		"listeners.pos.rate":                "7",
		"listeners.pos.burst":               "7",
		"switch.participant_rate":           "7",
		"switch.participant_rates":          "10000002=7",
		"switch.shed_target":                "7s",
		"switch.shed_interval":              "7s",
		"listeners.pos.max_in_flight":       "7",
		"listeners.pos.idle_timeout":        "7s",
		"listeners.pos.max_frame":           "700",
		"listeners.pos.allow_remote":        "true",
		"core_dumps":                        "true",
		"keys.file":                         "/other/keys.store",
		"keys.kek":                          "env:OTHER_KEK",
		"keys.accept":                       "7",
		"keys.mac_errors":                   "7",
		"keys.overlap":                      "7s",
		"switch.participant_keys":           "10000002=cmac",
		"admin.socket":                      "/other/admin.sock",
		"http.address":                      "0.0.0.0:9001",
		"log.level":                         "debug",
		"log.format":                        "json",
		"log.sample":                        "7",
		"ledger.queue":                      "70000",
		"ledger.group_max":                  "7",
		"ledger.groups_in_flight":           "7",
		"ledger.checkpoint_every":           "7",
		"ledger.checkpoint_interval":        "7s",
		"ledger.cache_accounts":             "7",
		"ledger.trace_days":                 "7",
		"ledger.trace_keys":                 "7",
		"ledger.block_cache_mb":             "7",
		"switch.freshness_ahead":            "7s",
		"switch.freshness_behind":           "7s",
		"switch.bad_frames_per_minute":      "7",
		"switch.drain_timeout":              "7s",
		"admin.access":                      "group",
		"admin.owner":                       "li",
		"admin.session":                     "7m",
		"listeners.pos.tls":                 "mutual",
		"tls.mode":                          "off",
		"tls.authority":                     "/other/pki",
		"tls.certificate":                   "/other/switch.crt",
		"tls.key":                           "/other/switch.key",
		"tls.trust":                         "/other/trust.crt",
		"tls.names":                         "switch.example, 10.0.0.1",
		"tls.min_version":                   "1.2",
		"tls.accept":                        "7",
		"admin.address":                     "0.0.0.0:9002",
		"http.tls":                          "off",
		"http.allow_remote":                 "true",
		"settlement.cutover":                "23:00",
		"settlement.cycles":                 "11:30, 17:00",
		"settlement.holidays":               "/other/holidays",
		"settlement.weekend":                "fri",
		"settlement.run":                    "publish",
		"settlement.as":                     "li",
		"settlement.operator":               "90000007",
		"settlement.name":                   "联分",
		"settlement.model":                  "BNET",
		"settlement.models":                 "RDM 1 1 BNET, * * * MNET",
		"settlement.classes":                "10000002 2",
		"settlement.key":                    "/other/settlement",
		"settlement.twin":                   "false",
		"settlement.workers":                "7",
		"settlement.cash_currency":          "CNY",
		"settlement.cash_scale":             "0",
		"settlement.cash_price":             "1/100",
		"settlement.cash_bank":              "CNAPS:102100099996",
		"settlement.cash_account":           "0200001009000000001",
		"settlement.fetch_address":          "0.0.0.0:9003",
		"settlement.fetch_host_key":         "/other/host",
		"settlement.fetch_keys":             "/other/keys",
		"settlement.ack_by":                 "10:30",
	}
}

// Every key can be set from the file, from the environment and from the command
// line, and each way sets that key and no other.
func TestEveryKeyFromEveryDoor(t *testing.T) {
	c := Default()
	values := another()
	covered := 0
	for _, s := range c.settings() {
		value, ok := values[s.key]
		if !ok {
			require.True(t, strings.HasPrefix(s.key, "listeners."), "no other value for %s", s.key)
			continue
		}
		covered++
		t.Run(s.key, func(t *testing.T) {
			require.NotEqual(t, value, s.show(), "the value under test is the default")
			text := string(Template(""))
			path := filepath.Join(t.TempDir(), FileName)
			require.NoError(t, os.WriteFile(path, []byte(replace(t, text, s.key, s.show(), value)), 0o600))
			untouched := filepath.Join(filepath.Dir(path), "untouched.yaml")
			require.NoError(t, os.WriteFile(untouched, Template(""), 0o600))

			// An address that others reach needs the permission beside it.
			var permit []string
			if s.key == "listeners.pos.address" {
				permit = []string{"listeners.pos.allow_remote=true"}
			}
			if s.key == "settlement.fetch_address" { // And a server its keys.
				permit = []string{"settlement.fetch_host_key=/host", "settlement.fetch_keys=/keys"}
			}
			if s.key == "settlement.cash_currency" { // And a currency its price and where it is paid.
				permit = []string{"settlement.cash_price=1/100", "settlement.cash_bank=ICBKCNBJ", "settlement.cash_account=1"}
			}
			fromFile, err := Load(path, nil, permit)
			require.NoError(t, err)
			fromEnv, err := Load(untouched, []string{envName(s.key) + "=" + value}, permit)
			require.NoError(t, err)
			fromFlag, err := Load(untouched, nil, append(permit, s.key+"="+value))
			require.NoError(t, err)
			require.Equal(t, fromFile, fromEnv)
			require.Equal(t, fromFile, fromFlag)

			before, err := Load(untouched, nil, permit)
			require.NoError(t, err)
			require.Equal(t, []string{s.key + "=" + value}, differences(before, fromFile))
		})
	}
	require.Equal(t, len(values), covered)
}

// replace returns the template with the value of one key exchanged. A key of a
// listener is looked for from the beginning of the list: pos is its first entry.
func replace(t *testing.T, text, key, before, after string) string {
	t.Helper()
	section, name := "", key
	if ofPos, found := strings.CutPrefix(key, "listeners.pos."); found {
		section, name = "\nlisteners:\n", "    "+ofPos
	} else if head, rest, nested := strings.Cut(key, "."); nested {
		section, name = "\n"+head+":\n", "  "+rest
	}
	at := strings.Index(text, section)
	require.GreaterOrEqual(t, at, 0)
	old := fmt.Sprintf("\n%s: %s\n", name, yamlText(before))
	require.Contains(t, text[at:], old)
	return text[:at] + strings.Replace(text[at:], old, fmt.Sprintf("\n%s: %s\n", name, yamlText(after)), 1)
}

// differences returns the keys whose values differ, with the second value.
func differences(a, b Config) []string {
	var found []string
	before, after := a.settings(), b.settings()
	for i := range before {
		if before[i].show() != after[i].show() {
			found = append(found, after[i].key+"="+after[i].show())
		}
	}
	return found
}

// No two keys share an environment variable, and none hides behind a name that
// an orchestrator sets.
func TestEnvironmentNamesAreDistinct(t *testing.T) {
	c := Default()
	owner := make(map[string]string)
	for _, s := range c.settings() {
		name := envName(s.key)
		require.Empty(t, owner[name], "%s and %s are both %s", owner[name], s.key, name)
		require.False(t, fromOrchestrator(name), name)
		owner[name] = s.key
	}
}

// Every key of the file stands under a comment that says what it is, what is
// expected and its default, in lines that fit a terminal.
func TestTemplateExplainsEveryKey(t *testing.T) {
	lines := strings.Split(string(Template("/srv/lianfen")), "\n")
	c := Default()
	explained := 0
	for _, line := range lines {
		require.LessOrEqual(t, len(line), commentWidth, line)
		if strings.Contains(line, "Expected:") {
			explained++
		}
	}
	// The second listener repeats the keys of the first without words; links,
	// terminals, deliveries and accounts are explained although there are none.
	silent, terminals, delivery, account := defaultLink(), defaultTerminals(), defaultDelivery(), new(MemberAccount)
	require.Equal(t, len(c.settings())-len(c.Listeners[1].settings(""))+len(silent.settings(""))+len(terminals.settings(""))+len(delivery.settings(""))+len(account.settings("")), explained)
	require.True(t, bytes.Contains(Template("/srv/lianfen"), []byte("lianfen serve --config /srv/lianfen/"+FileName)))
}

// Durations are shown as a person writes them, and read back as the same.
func TestBrief(t *testing.T) {
	for _, text := range []string{"0s", "1s", "90ms", "1m", "1m30s", "10m", "1h", "1h30m", "1h0m30s", "24h", "20h"} {
		d := Default().Switch.DrainTimeout
		s := duration("x", &d, 0, 1<<62, "")
		require.True(t, s.set(text), text)
		require.Equal(t, text, brief(d))
	}
}
