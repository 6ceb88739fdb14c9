package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/config"
)

// write puts text into a lianfen.yaml of its own and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), config.FileName)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// absolute returns c with its paths in folder, as Load returns them.
func absolute(c config.Config, folder string) config.Config {
	c.Data = filepath.Join(folder, c.Data)
	c.CardKey = filepath.Join(folder, c.CardKey)
	c.Keys.File = filepath.Join(folder, c.Keys.File)
	c.Keys.KEK = "file:" + filepath.Join(folder, "kek.key")
	c.Admin.Socket = filepath.Join(folder, c.Admin.Socket)
	c.TLS.Authority = filepath.Join(folder, c.TLS.Authority)
	return c
}

// The defaults are a valid configuration that nobody but this machine reaches.
func TestDefaultIsValid(t *testing.T) {
	c := config.Default()
	require.NoError(t, c.Validate())
	for _, l := range c.Listeners {
		require.False(t, l.AllowRemote)
		require.True(t, strings.HasPrefix(l.Address, "127."), l.Address)
	}
}

// The file that init writes reads back as the defaults, whatever the folder.
func TestTemplateReadsBackAsDefault(t *testing.T) {
	path := write(t, string(config.Template(t.TempDir())))
	c, err := config.Load(path, nil, nil)
	require.NoError(t, err)
	require.Equal(t, absolute(config.Default(), filepath.Dir(path)), c)
}

// An empty file and no file are both the defaults.
func TestNothingIsTheDefault(t *testing.T) {
	path := write(t, "# nothing set\n")
	c, err := config.Load(path, nil, nil)
	require.NoError(t, err)
	require.Equal(t, absolute(config.Default(), filepath.Dir(path)), c)

	folder := t.TempDir()
	t.Chdir(folder)
	c, err = config.Load("", nil, nil)
	require.NoError(t, err)
	require.Equal(t, absolute(config.Default(), folder), c)
}

// The command line wins over the environment, that over the file, that over
// the default; a layer that is silent leaves the one below.
func TestPrecedence(t *testing.T) {
	path := write(t, "ledger:\n  queue: 5001\n  group_max: 101\n  groups_in_flight: 2\n")
	env := []string{"LIANFEN_LEDGER_QUEUE=5002", "LIANFEN_LEDGER_GROUP_MAX=102", "HOME=/nowhere"}
	c, err := config.Load(path, env, []string{"ledger.queue=5003"})
	require.NoError(t, err)
	require.Equal(t, 5003, c.Ledger.Queue)
	require.Equal(t, 102, c.Ledger.GroupMax)
	require.Equal(t, 2, c.Ledger.GroupsInFlight)
	require.Equal(t, config.Default().Ledger.TraceDays, c.Ledger.TraceDays)
}

// Of two overrides of one key the last wins, as with repeated flags.
func TestLastOverrideWins(t *testing.T) {
	c, err := config.Load("", nil, []string{"ledger.trace_days=3", "ledger.trace_days=4"})
	require.NoError(t, err)
	require.Equal(t, 4, c.Ledger.TraceDays)
}

// A listener of the file is set key by key from the layers above; the file's
// list replaces the default one, and what an entry leaves out has its default.
func TestListeners(t *testing.T) {
	path := write(t, `
listeners:
  - name: bank-one
    address: 10.0.0.1:7000
    dialect: host
    allow_remote: true
`)
	c, err := config.Load(path,
		[]string{"LIANFEN_LISTENERS_BANK_ONE_MAX_FRAME=2048"},
		[]string{"listeners.bank-one.idle_timeout=90s"})
	require.NoError(t, err)
	require.Equal(t, []config.Listener{{
		Name: "bank-one", Address: "10.0.0.1:7000", Dialect: config.DialectHost,
		MaxConnections: 10_000, MaxPerSource: 2_000, MaxPerIdentity: 1_000, FirstFrame: time.Minute,
		MaxInFlight: 256, IdleTimeout: 90 * time.Second, MaxFrame: 2048,
		TLS: config.TLSDefault, AllowRemote: true,
	}}, c.Listeners)
}

// A link has its defaults where the file says nothing, and every layer above the file
// reaches it by its name.
func TestLinks(t *testing.T) {
	path := write(t, `
links:
  - name: far
    dial: "10.0.0.1:7000*3+10.0.0.2:7000, backup:7001"
    retry: 1s, 2s
    stand_in_programs: "901, 902"
    stand_in_refused: refused.txt
  - {name: near, listen: "127.0.0.1:7002"}
`)
	c, err := config.Load(path, []string{"LIANFEN_LINKS_FAR_DEADLINE=3s"}, []string{"links.near.unknown_ends=true"})
	require.NoError(t, err)
	require.Len(t, c.Links, 2)
	far, near := c.Links[0], c.Links[1]
	require.Equal(t, []config.Endpoint{
		{Address: "10.0.0.1:7000", Priority: 1, Weight: 3}, {Address: "10.0.0.2:7000", Priority: 1, Weight: 1}, {Address: "backup:7001", Priority: 2, Weight: 1},
	}, far.Dial)
	require.Equal(t, []time.Duration{time.Second, 2 * time.Second}, far.Retry)
	require.Equal(t, []int{901, 902}, far.StandIn.Programs)
	require.Equal(t, filepath.Join(filepath.Dir(path), "refused.txt"), far.StandIn.Refused)
	require.Equal(t, 3*time.Second, far.Deadline)
	require.True(t, near.UnknownEnds)
	require.Equal(t, 15*time.Second, near.Deadline)
}

// What cannot be a link is refused, with the line that it begins at.
func TestLinksThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"{name: a}": "lianfen.yaml:2: links.a.dial: \"\", expected an address here, or one in links.a.listen",
		"{name: a, tls: off, listen: \"0.0.0.0:1\"}":     "links.a.listen: \"0.0.0.0:1\", expected an address of this machine only, or links.a.tls: mutual, or links.a.allow_remote: true",
		"{name: a, dial: \"h:1\", issuers: 0}":           "links.a.issuers: \"0\", expected institution numbers",
		"{name: a, dial: \"h:1\", tls: perhaps}":         "links.a.tls: \"perhaps\", expected one of default, mutual, off",
		"{name: a, dial: \"h\"}":                         "links.a.dial: \"h\", expected addresses such as",
		"{name: a, dial: \"h:1*0\"}":                     "links.a.dial: \"h:1*0\", expected addresses such as",
		"{name: a, dial: \"h:1,\"}":                      "links.a.dial: \"h:1,\", expected addresses such as",
		"{name: a, dial: \"h:1\", retry: \"\"}":          "links.a.retry: \"\", expected durations",
		"{name: a, dial: \"h:1\", retry: 5}":             "links.a.retry: \"5\", expected durations",
		"{name: a, dial: \"h:1\", redial: 5m}":           "links.a.redial_most: \"1m\", expected at least redial, which is 5m",
		"{name: a, dial: \"h:1\", stand_in_programs: 1}": "links.a.stand_in_programs: \"1\", expected programme codes",
		"{name: a, dial: \"h:1\", institution: x}":       "links.a.institution: \"x\", expected an institution number",
	} {
		_, err := config.Load(write(t, "links:\n  - "+text+"\n"), nil, nil)
		require.ErrorContains(t, err, want, text)
	}
	_, err := config.Load(write(t, "links:\n  - {name: a, dial: \"h:1\"}\n  - {name: a, dial: \"h:2\"}\n"), nil, nil)
	require.ErrorContains(t, err, "a name that no other link has")
	_, err = config.Load(write(t, "links: far\n"), nil, nil)
	require.ErrorContains(t, err, "a list of links")
}

// Any number of listeners may ask for a free port.
func TestListenersOnFreePorts(t *testing.T) {
	c, err := config.Load("", nil, []string{
		"listeners.pos.address=127.0.0.1:0", "listeners.host.address=127.0.0.1:0", "http.address=127.0.0.1:0",
	})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:0", c.Listeners[1].Address)
}

// A value that is out of range is reported although a later source replaces it:
// the day that source is silent, the switch would not start.
func TestReplacedValueIsChecked(t *testing.T) {
	path := write(t, "ledger:\n  queue: 0\nlog:\n  sample: 0\nswitch:\n  drain_timeout: 0s\n")
	_, err := config.Load(path, nil, []string{"ledger.queue=5000", "log.sample=2", "switch.drain_timeout=5s"})
	require.ErrorContains(t, err, `lianfen.yaml:2: ledger.queue: "0"`)
	require.ErrorContains(t, err, `lianfen.yaml:4: log.sample: "0"`)
	require.ErrorContains(t, err, `lianfen.yaml:6: switch.drain_timeout: "0s"`)
}

// Relative paths start at the file's folder, whoever said them; absolute ones stay.
func TestPathsStartAtTheFile(t *testing.T) {
	path := write(t, "data: a/store\n")
	folder := filepath.Dir(path)
	c, err := config.Load(path, []string{"LIANFEN_CARD_KEY=keys/card"}, []string{"admin.socket=/run/lianfen.sock"})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(folder, "a/store"), c.Data)
	require.Equal(t, filepath.Join(folder, "keys/card"), c.CardKey)
	require.Equal(t, "/run/lianfen.sock", c.Admin.Socket)
}

// What is wrong is said with its place, its key, the value and what is expected.
func TestProblems(t *testing.T) {
	tests := []struct {
		name      string
		file      string
		env       []string
		overrides []string
		want      []string // the whole error, line by line
	}{
		{
			name: "unknown key, with its line",
			file: "log:\n  level: info\n  colour: red\n",
			want: []string{`lianfen.yaml:3: log.colour: "red", expected a known key: level, format, sample`},
		},
		{
			name: "unknown section",
			file: "leger:\n  queue: 5\n",
			want: []string{`lianfen.yaml:1: leger: "", expected a known key: data, card_key, time_zone, core_dumps, listeners, tls, keys, admin, http, log, ledger, switch, settlement, links, terminals`},
		},
		{
			name: "number out of range",
			file: "ledger:\n  trace_days: 1\n",
			want: []string{`lianfen.yaml:2: ledger.trace_days: "1", expected a whole number from 2 to 31`},
		},
		{
			name: "number with a unit, too large for a machine word, with decimals",
			file: "ledger:\n  queue: 64k\n  group_max: 99999999999999999999\n  trace_days: 2.5\n",
			want: []string{
				`lianfen.yaml:2: ledger.queue: "64k", expected a whole number from 1 to 16777216`,
				`lianfen.yaml:3: ledger.group_max: "99999999999999999999", expected a whole number from 1 to 1048576`,
				`lianfen.yaml:4: ledger.trace_days: "2.5", expected a whole number from 2 to 31`,
			},
		},
		{
			name: "duration without a unit",
			file: "switch:\n  drain_timeout: 10\n",
			want: []string{`lianfen.yaml:2: switch.drain_timeout: "10", expected a duration from 1s to 10m, such as 90s or 1h30m`},
		},
		{
			name: "word that is none of the choices",
			file: "log:\n  level: loud\n  format: xml\n",
			want: []string{
				`lianfen.yaml:2: log.level: "loud", expected one of debug, info, warn, error`,
				`lianfen.yaml:3: log.format: "xml", expected one of text, json`,
			},
		},
		{
			name: "key without a value, section where a value belongs, value where a section belongs",
			file: "data:\ntime_zone:\n  name: Asia/Shanghai\nledger: 5\n",
			want: []string{
				`lianfen.yaml:2: time_zone: "", expected an IANA time zone such as Asia/Shanghai`,
				`lianfen.yaml:4: ledger: "5", expected a section of key: value lines`,
				`lianfen.yaml:1: data: "", expected a path, relative to the file's folder or absolute`,
			},
		},
		{
			name: "key given twice",
			file: "data: a\ndata: b\n",
			want: []string{`lianfen.yaml:2: data: "b", expected each key once`},
		},
		{
			name: "alias",
			file: "data: &here store\ncard_key: *here\n",
			want: []string{`lianfen.yaml:2: card_key: "", expected a path, relative to the file's folder or absolute`},
		},
		{
			name: "time zones that depend on the machine or do not exist",
			env:  []string{"LIANFEN_TIME_ZONE=Local"},
			want: []string{`LIANFEN_TIME_ZONE: time_zone: "Local", expected an IANA time zone such as Asia/Shanghai`},
		},
		{
			name:      "unknown variable, unknown override, override without a value",
			env:       []string{"LIANFEN_LEDGER_QEUE=7", "LIANFEN_PORT_8583_TCP=tcp://10.1.2.3:8583", "LIANFEN_SERVICE_HOST=10.1.2.3"},
			overrides: []string{"log.colour=red", "verbose"},
			want: []string{
				`environment: LIANFEN_LEDGER_QEUE: "7", expected a key such as LIANFEN_LEDGER_QUEUE`,
				`command line: log.colour: "red", expected a known key such as ledger.queue`,
				`command line: verbose: "", expected key=value`,
			},
		},
		{
			name: "plain listener that other machines reach",
			file: "listeners:\n  - {name: pos, address: \":8583\", dialect: pos, tls: off}\n  - {name: two, address: \"0.0.0.0:1\", dialect: pos}\n" +
				"  - {name: three, address: \"0.0.0.0:2\", dialect: pos, tls: mutual}\ntls: {mode: off}\nhttp: {address: \"0.0.0.0:3\"}\n",
			want: []string{
				`lianfen.yaml:2: listeners.pos.address: ":8583", expected an address of this machine only, such as 127.0.0.1:8583, or listeners.pos.tls: mutual, or listeners.pos.allow_remote: true`,
				`lianfen.yaml:3: listeners.two.address: "0.0.0.0:1", expected an address of this machine only, such as 127.0.0.1:8583, or listeners.two.tls: mutual, or listeners.two.allow_remote: true`,
				`lianfen.yaml:6: http.address: "0.0.0.0:3", expected an address of this machine only, or http.tls: mutual, or http.allow_remote: true`,
			},
		},
		{
			name: "an identity where peers show their own",
			file: "\nlisteners:\n  - {name: pos, address: \"127.0.0.1:1\", dialect: pos, identity: \"lianfen://acquirer/1\"}\n",
			want: []string{
				`lianfen.yaml:3: listeners.pos.identity: "lianfen://acquirer/1", expected nothing where peers show certificates, or listeners.pos.tls: off`,
			},
		},
		{
			name: "listener without name, address and dialect",
			file: "listeners:\n  - max_frame: 4096\n",
			want: []string{
				`lianfen.yaml:2: listeners.1.name: "", expected a name of a-z, 0-9 and -, at most 32 characters, a letter first`,
				`lianfen.yaml:2: listeners.1.address: "", expected host:port, such as 127.0.0.1:8583`,
				`lianfen.yaml:2: listeners.1.dialect: "", expected one of pos, host`,
			},
		},
		{
			name: "listeners that share a name or an address",
			file: "listeners:\n  - {name: a, address: \"127.0.0.1:1\", dialect: pos}\n  - {name: b, address: \"127.0.0.1:1\", dialect: pos}\n" +
				"  - {name: a, address: \"[::1]:0\", dialect: pos}\n  - {name: c, address: \"localhost:8580x\", dialect: pos}\n" +
				"  - {name: d, address: \"127.0.0.1:8580\", dialect: pos}\n",
			want: []string{
				`lianfen.yaml:5: listeners.c.address: "localhost:8580x", expected host:port, such as 127.0.0.1:8583`,
				`lianfen.yaml:3: listeners.b.address: "127.0.0.1:1", expected an address other than that of listeners.a`,
				`lianfen.yaml:4: listeners.a.name: "a", expected a name that no other listener has`,
				`lianfen.yaml:6: listeners.d.address: "127.0.0.1:8580", expected an address other than that of http`,
			},
		},
		{
			name: "no listener at all, and a list that is none",
			file: "listeners: pos\n",
			env:  []string{"LIANFEN_LISTENERS_POS_DIALECT=cups"},
			want: []string{
				`lianfen.yaml:1: listeners: "pos", expected a list of listeners, each beginning with - name:`,
				`LIANFEN_LISTENERS_POS_DIALECT: listeners.pos.dialect: "cups", expected one of pos, host`,
			},
		},
		{
			name: "empty list of listeners",
			file: "listeners: []\n",
			want: []string{`listeners: "", expected at least one listener`},
		},
		{
			name: "accepted for longer than it is remembered",
			file: "switch:\n  freshness_behind: 48h\nledger:\n  trace_days: 2\n",
			want: []string{`lianfen.yaml:2: switch.freshness_behind: "48h", expected at most 24h, the time that ledger.trace_days 2 is certain to cover`},
		},
		{
			name:      "group larger than the queue",
			overrides: []string{"ledger.queue=10"},
			want:      []string{`ledger.group_max: "4096", expected at most ledger.queue, which is 10`},
		},
		{
			name:      "socket path that the system cannot bind",
			overrides: []string{"admin.socket=/" + strings.Repeat("x", 103)},
			want: []string{`command line: admin.socket: "/` + strings.Repeat("x", 103) +
				`", expected a path of at most 103 bytes once made absolute`},
		},
		{
			name: "two documents",
			file: "data: a\n---\ndata: b\n",
			want: []string{`config: FILE: more than one YAML document`},
		},
		{
			name: "a list instead of keys",
			file: "- data: a\n",
			want: []string{`lianfen.yaml:1: the file: "", expected a section of key: value lines`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.file)
			_, err := config.Load(path, tt.env, tt.overrides)
			require.Error(t, err)
			require.Equal(t, tt.want, strings.Split(strings.ReplaceAll(err.Error(), path, "FILE"), "\n"))
		})
	}
}

// Text that is not YAML is refused with the line where reading stopped.
func TestNotYAML(t *testing.T) {
	_, err := config.Load(write(t, "data: a\nlog: [\n"), nil, nil)
	require.ErrorContains(t, err, "not YAML")
	require.ErrorContains(t, err, "line ")
}

// A file that is not there is an error: a typing mistake must not start the
// switch on defaults.
func TestMissingFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "absent.yaml"), nil, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A file larger than the bound is not read to its end.
func TestFileIsBounded(t *testing.T) {
	_, err := config.Load(write(t, "# "+strings.Repeat("x", 1<<20)), nil, nil)
	require.ErrorContains(t, err, "longer than 1048576 bytes")
}

// A refused configuration is not handed out half done.
func TestRefusedIsEmpty(t *testing.T) {
	c, err := config.Load(write(t, "data: elsewhere\nlog:\n  level: loud\n"), nil, nil)
	require.Error(t, err)
	require.Equal(t, config.Config{}, c)
}

// A problem can be taken apart by whoever shows it.
func TestProblemIsTyped(t *testing.T) {
	_, err := config.Load("", nil, []string{"log.sample=0"})
	var problem *config.Problem
	require.ErrorAs(t, err, &problem)
	require.Equal(t, config.Problem{
		Source: "command line", Key: "log.sample", Value: "0", Expected: "a whole number from 1 to 1000000",
	}, *problem)
}

// Parameters of terminals are read with their defaults, and what no terminal could take
// is refused where it stands.
func TestTerminals(t *testing.T) {
	c, err := config.Load(write(t, `
terminals:
  - {name: all, time_out: 60, phones: "95516, 010-1234", auto_sign_off: yes}
  - {name: cafe, merchant: M00000000000001, retries: 0, merchant_name: 码头咖啡}
`), nil, []string{"terminals.cafe.time_out=30"})
	require.NoError(t, err)
	require.Equal(t, []config.Terminals{
		{Name: "all", TimeOut: 60, Retries: -1, Resends: -1, Phones: []string{"95516", "010-1234"}, AutoSignOff: "yes"},
		{Name: "cafe", Merchant: "M00000000000001", TimeOut: 30, Retries: 0, Resends: -1, MerchantName: "码头咖啡"},
	}, c.Terminals)
	for text, wrong := range map[string]string{
		"{name: a, time_out: 100}":              "lianfen.yaml:2: terminals.a.time_out: \"100\", expected a whole number from 0 to 99",
		"{name: a, phones: \"1,2,3,4\"}":        "terminals.a.phones",
		"{name: a, phones: x}":                  "terminals.a.phones",
		"{name: a, manual_entry: perhaps}":      "terminals.a.manual_entry: \"perhaps\", expected one of yes, no",
		"{name: a, terminal: T00000001}":        "terminals.a.terminal: \"T00000001\", expected at most 8",
		"{time_out: 5}":                         "terminals.1.name",
		"{name: a}\n  - {name: b}":              "terminals.b.terminal: \"\", expected other terminals than those of terminals.a",
		"{name: a}\n  - {name: a, terminal: T}": "terminals.a.name: \"a\", expected a name that no other item has",
	} {
		_, err := config.Load(write(t, "terminals:\n  - "+text+"\n"), nil, nil)
		require.ErrorContains(t, err, wrong, text)
	}
}

// A Config built in code is held to the same rules as one that was read.
func TestValidate(t *testing.T) {
	zero := config.Config{Listeners: []config.Listener{{}}}
	err := zero.Validate()
	require.Error(t, err)
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	// Every key but those that may be zero: log.level info, core_dumps and allow_remote
	// false, keys.accept, tls.accept, six limits of which zero is none, and two fields each of the rates and of the
	// keys of acquirers;
	// allow_remote of http, and what may be empty: listeners.identity, admin.owner,
	// admin.address, tls.certificate, tls.key, tls.trust, tls.names; and all of settlement,
	// whose lists are a leaf each, rules on models and classes one for each of their fields, but
	// for the night's run, operator, name, model and workers; and all of cash, whose price has
	// two and whose accounts three.
	require.Len(t, joined.Unwrap(), leaves(reflect.TypeOf(zero), true)-3-1-1-6-4-8-4-3-6-9)
}

// leaves counts the fields that hold a value; a slice of structs counts once
// per entry, and there is one entry.
func leaves(t reflect.Type, root bool) int {
	switch {
	case t.Kind() == reflect.Struct:
		n := 0
		for field := range t.Fields() {
			if field.Name == "Links" || field.Name == "Terminals" || field.Name == "Courier" {
				continue // There is none, and TestLinks, TestTerminals and TestDeliveries have them.
			}
			n += leaves(field.Type, false)
		}
		return n
	case t.Kind() == reflect.Slice && !root:
		return leaves(t.Elem(), false)
	default:
		return 1
	}
}

// Rates of acquirers are read as they are shown; what is none is refused with the key.
func TestParticipantRates(t *testing.T) {
	c, err := config.Load(write(t, "switch:\n  participant_rates: 10000002=500, 10000003=0\n"), nil, nil)
	require.NoError(t, err)
	require.Equal(t, []config.ParticipantRate{{Acquirer: 10000002, PerSecond: 500}, {Acquirer: 10000003}}, c.Switch.ParticipantRates)
	for _, wrong := range []string{"x", "10000002", "10000002=-1", "=5", "1=5, 1=6", "0=5", "1=99999999999"} {
		_, err := config.Load(write(t, "switch:\n  participant_rates: \""+wrong+"\"\n"), nil, nil)
		require.ErrorContains(t, err, "switch.participant_rates", wrong)
	}
}

// Times of cut-overs are read as they are shown; what is none, twice there or both the end
// of a cycle and of the date is refused with the key.
func TestSettlementTimes(t *testing.T) {
	c, err := config.Load(write(t, "settlement:\n  cutover: \"23:00\"\n  cycles: 11:30, 17:05\n  weekend: none\n"), nil, nil)
	require.NoError(t, err)
	require.Equal(t, config.Settlement{CutOver: config.ClockTimes{23 * 60}, Cycles: config.ClockTimes{11*60 + 30, 17*60 + 5}}, c.Settlement)
	for key, values := range map[string][]string{
		"cutover": {"24:00", "9:00", "23:00:00", "x", "22:00, 23:00"}, "cycles": {"11:30, 11:30", "11.30"},
		"weekend": {"sun, sun", "x", "mon, tue, wed, thu, fri, sat, sun"},
	} {
		for _, wrong := range values {
			_, err := config.Load(write(t, "settlement:\n  "+key+": \""+wrong+"\"\n"), nil, nil)
			require.ErrorContains(t, err, "settlement."+key, wrong)
		}
	}
	_, err = config.Load(write(t, "settlement:\n  cutover: \"23:00\"\n  cycles: \"11:00, 23:00\"\n"), nil, nil)
	require.ErrorContains(t, err, "settlement.cycles")
}
