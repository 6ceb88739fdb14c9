package app_test

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/internal/tools"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

func silent(uint64, uint64) {}

// playDay starts the demonstration's switch, plays its day, and cuts over.
func playDay(t *testing.T) (*house, *running) {
	t.Helper()
	h := newHouse(t)
	r := h.start(t)
	directory, err := app.ReadDirectory(sim.DayDirectory())
	require.NoError(t, err)
	_, err = r.client.Load(t.Context(), directory)
	require.NoError(t, err)
	script, err := sim.ReadScript(sim.DayScript())
	require.NoError(t, err)
	player := sim.Player{Address: r.Address("pos").String(), Clock: now}
	wrong, err := player.Play(t.Context(), script, func(sim.Result) error { return nil })
	require.NoError(t, err)
	require.Zero(t, wrong)
	require.NoError(t, player.HangUp())
	_, err = r.client.Adjust(t.Context(), app.Adjustment{
		Holder: app.Holder{Member: 1001}, Program: 901, Amount: 5, Operator: "li", Second: "wang", Note: `case 17, "海港", 5 points`,
	})
	require.NoError(t, err)
	_, err = r.client.CutOver(t.Context(), app.CutOver{Operator: "a", Second: "b", Force: true})
	require.NoError(t, err)
	return h, r
}

// whole is every business date of a day that was just played.
func whole(format app.ExportFormat) app.Exporting {
	return app.Exporting{From: 20000101, To: 20991231, Format: format}
}

// A backup taken while serving is a store that proves, and of which a restore
// makes the same state: digests agree throughout. The card key is not in it.
func TestBackupVerifyRestore(t *testing.T) {
	h, r := playDay(t)
	live, err := r.client.Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	backup := filepath.Join(t.TempDir(), "backup")
	b, err := r.client.Backup(t.Context(), backup)
	require.NoError(t, err)
	require.Equal(t, live.Position, b.Position)
	require.Positive(t, b.Bytes)
	_, err = r.client.Backup(t.Context(), backup)
	require.Equal(t, points.AlreadyExists, points.ReasonOf(err))
	_, err = r.client.Backup(t.Context(), "relative")
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	_, err = app.VerifyOffline(t.Context(), h.config.Data, app.ProofProgress{})
	require.ErrorContains(t, err, "being served", "a served store cannot be opened beside")
	offline, err := app.VerifyOffline(t.Context(), backup, app.ProofProgress{})
	require.NoError(t, err)
	require.Equal(t, live.Digest, offline.Digest)

	key, err := os.ReadFile(h.config.CardKey)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(backup, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		require.NotContains(t, string(content), strings.TrimSpace(string(key)), path)
		return err
	}))

	data := filepath.Join(t.TempDir(), "restored")
	again, err := app.Restore(t.Context(), app.Restoring{From: backup, Data: data, Copied: silent, Proved: silent})
	require.NoError(t, err)
	require.Equal(t, live.Digest, again.Digest)
	require.Equal(t, live.Position, again.Position)
	_, err = app.Restore(t.Context(), app.Restoring{From: backup, Data: data, Copied: silent, Proved: silent})
	require.Equal(t, points.AlreadyExists, points.ReasonOf(err))
	r.stop(t)

	h.config.Data = data
	r = h.start(t)
	served, err := r.client.Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	require.Equal(t, live.Digest, served.Digest)
	r.stop(t)
}

// A restore that fails leaves nothing behind, and the source as it was.
func TestRestoreThatFailsLeavesNothing(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	r.stop(t)
	data := filepath.Join(t.TempDir(), "restored")
	_, err := app.Restore(t.Context(), app.Restoring{From: h.config.Data, Data: data, Until: ledger.Until{Position: 1_000_000}, Copied: silent, Proved: silent})
	require.Equal(t, points.UnknownOriginal, points.ReasonOf(err))
	left, err := os.ReadDir(filepath.Dir(data))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = app.VerifyOffline(t.Context(), h.config.Data, app.ProofProgress{})
	require.NoError(t, err)
}

// A breach that the serving process finds reaches the operator as what it is.
func TestProveTellsABreach(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	r.stop(t)
	db, err := store.Open(store.Options{Dir: h.config.Data})
	require.NoError(t, err)
	member := []byte{byte(store.State), 3, 0, 0, 0, 0, 0, 0, 0, 2}
	_, ok, err := db.Get(nil, store.State, member[1:])
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, db.Ingest(t.Context(), []store.Pair{{Key: member}}))
	require.NoError(t, db.Close())
	r = h.start(t)
	_, err = r.client.Prove(t.Context(), app.ProofProgress{})
	breach := new(ledger.BreachError)
	require.ErrorAs(t, err, &breach)
	require.Equal(t, "I9", breach.Invariant)
	r.stop(t)
}

// fillShelf writes as many records as one shelf of the index has.
func fillShelf(t *testing.T, data string) {
	t.Helper()
	db, err := store.Open(store.Options{Dir: data})
	require.NoError(t, err)
	l, err := ledger.Open(t.Context(), ledger.Options{Store: db})
	require.NoError(t, err)
	put := book.Command{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: 1, Status: book.Active}}}
	var open sync.WaitGroup
	asks := make([]ledger.Ask, 1<<ledger.DefaultShelfBits)
	for i := range asks {
		asks[i] = ledger.Ask{Command: &put, Done: func(*book.Outcome) { open.Done() }}
	}
	for chunk := range slices.Chunk(asks, ledger.DefaultQueue/2) {
		open.Add(len(chunk))
		l.SubmitAll(chunk)
		open.Wait()
	}
	_, err = l.Do(t.Context(), &put) // A block behind the shelf, before which that is stored.
	require.NoError(t, err)
	require.NoError(t, l.Close(t.Context()))
}

// A row of the index that is lost is told as damage of the index, with the way out, by
// the serving process and offline; made again, it proves.
func TestProveTellsADamagedIndex(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	r.stop(t)
	fillShelf(t, h.config.Data)
	r = h.start(t)
	r.indexed(t)
	r.stop(t)
	db, err := store.Open(store.Options{Dir: h.config.Data})
	require.NoError(t, err)
	var row []byte
	require.NoError(t, db.Scan(t.Context(), store.Index, []byte{'b', 0, 0, 0, 0, 'm'}, func(key, _ []byte) (bool, error) {
		row = append([]byte{byte(store.Index)}, key...)
		return false, nil
	}))
	require.NoError(t, db.Ingest(t.Context(), []store.Pair{{Key: row}}))
	require.NoError(t, db.Close())
	damage := new(ledger.IndexError)
	_, err = app.VerifyOffline(t.Context(), h.config.Data, app.ProofProgress{})
	require.ErrorAs(t, err, &damage)
	at := damage.Position
	require.Equal(t, points.Position(binary.BigEndian.Uint64(row[len(row)-8:])&(1<<24-1)>>1), at)
	r = h.start(t)
	indexed := uint64(0)
	_, err = r.client.Prove(t.Context(), app.ProofProgress{Index: func(done, _ uint64) { indexed = done }})
	require.ErrorAs(t, err, &damage)
	require.Equal(t, at, damage.Position)
	require.ErrorContains(t, err, "a page of members on shelf 0; the journal is in order: rebuild the index with `lianfen ledger reindex`")
	_, err = r.client.Reindex(t.Context())
	require.NoError(t, err)
	r.indexed(t)
	proof, err := r.client.Prove(t.Context(), app.ProofProgress{Index: func(done, _ uint64) { indexed = done }})
	require.NoError(t, err)
	require.Equal(t, proof.Position, proof.Index)
	require.Equal(t, uint64(proof.Index), indexed)
	r.stop(t)
}

// Live and offline exports are the same bytes; every record is there once, in
// order, and no card number is.
func TestExport(t *testing.T) {
	h, r := playDay(t)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	live := map[app.ExportFormat][]byte{}
	for _, format := range []app.ExportFormat{app.ExportJSONL, app.ExportCSV, app.ExportHledger} {
		var out bytes.Buffer
		records, err := r.client.Export(t.Context(), whole(format), &out)
		require.NoError(t, err)
		require.Equal(t, uint64(status.Position), records)
		live[format] = out.Bytes()
	}
	shown := make(map[string]app.Detail)
	for position := points.Position(1); position <= status.Position; position++ {
		rrn := position.RRN()
		d, err := r.client.Detail(t.Context(), string(rrn[:]))
		require.NoError(t, err)
		shown[d.RRN] = d
	}
	var none bytes.Buffer
	records, err := r.client.Export(t.Context(), app.Exporting{From: status.Date.AddDays(1), To: status.Date.AddDays(9), Format: app.ExportJSONL}, &none)
	require.NoError(t, err)
	require.Zero(t, records)
	require.Empty(t, none.Bytes())
	records, err = r.client.Export(t.Context(), app.Exporting{From: status.Date, To: status.Date, Format: app.ExportJSONL}, &none)
	require.NoError(t, err)
	require.Equal(t, uint64(1), records, "the cut-over begins the date")
	for _, bad := range []app.Exporting{{From: 20260102, To: 20260101, Format: app.ExportCSV}, {From: 20260101, To: 20260101, Format: "xml"}, {Format: app.ExportCSV}} {
		_, err = r.client.Export(t.Context(), bad, &none)
		require.Equal(t, points.FormatError, points.ReasonOf(err))
	}
	r.stop(t)
	for format, want := range live {
		var out bytes.Buffer
		_, err := app.ExportOffline(t.Context(), h.config.Data, h.config.CardKey, whole(format), &out)
		require.NoError(t, err)
		require.Equal(t, string(want), out.String())
		require.NotContains(t, out.String(), "6222020000000000017")
	}

	exportedAsShown(t, live, shown)
	postings := 0
	lines := json.NewDecoder(bytes.NewReader(live[app.ExportJSONL]))
	for position := points.Position(1); position <= status.Position; position++ {
		var rec app.Record
		require.NoError(t, lines.Decode(&rec))
		rrn := position.RRN()
		require.Equal(t, string(rrn[:]), rec.RRN)
		postings += max(len(rec.Postings), 1) // A record that moves nothing has a line of its own.
	}
	require.False(t, lines.More())
	rows, err := csv.NewReader(bytes.NewReader(live[app.ExportCSV])).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+postings)
	require.Contains(t, string(live[app.ExportCSV]), "622202*********0017")
	var unkeyed bytes.Buffer
	_, err = app.ExportOffline(t.Context(), h.config.Data, "", whole(app.ExportCSV), &unkeyed)
	require.NoError(t, err)
	require.NotContains(t, unkeyed.String(), "622202**")
}

// exportedAsShown holds an export against what ledger show says of each record: jsonl is
// the same but for the words of an act, and the other formats have who asked, why, and what was put.
func exportedAsShown(t *testing.T, exported map[app.ExportFormat][]byte, shown map[string]app.Detail) {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace(exported[app.ExportJSONL]), []byte("\n"))
	require.Len(t, lines, len(shown))
	for _, line := range lines {
		var got app.Detail
		require.NoError(t, json.Unmarshal(line, &got))
		told := shown[got.RRN]
		told.What = "" // Its words compare with what is in force now, which an export does not ask.
		want, err := json.Marshal(told)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(line))
		require.True(t, strings.HasSuffix(got.Posted, "Z"), "%s is not UTC", got.Posted)
	}
	rows, err := csv.NewReader(bytes.NewReader(exported[app.ExportCSV])).ReadAll()
	require.NoError(t, err)
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	puts, asked := 0, 0
	ledgerText := string(exported[app.ExportHledger])
	for _, row := range rows[1:] {
		d := shown[row[column["rrn"]]]
		require.Equal(t, d.Operator, row[column["operator"]])
		require.Equal(t, d.Second, row[column["second"]])
		require.Equal(t, d.Note, row[column["note"]])
		require.Equal(t, d.Posted, row[column["posted"]])
		if d.Operator != "" && d.Reason.Approved() {
			asked++
			require.Regexp(t, fmt.Sprintf(`\(%s\) .*\n(    ;|;  ) operator: %s\n(    ;|;  ) second: %s\n`, d.RRN, d.Operator, d.Second), ledgerText)
		}
		for what, entry := range d.Put {
			puts++
			require.Equal(t, what+" "+string(entry), row[column["put"]])
			require.Contains(t, ledgerText, fmt.Sprintf("(%s) put\n;   %s: %s\n", d.RRN, what, entry))
		}
	}
	require.Greater(t, puts, 10)
	require.Positive(t, asked)
}

// An export that ends before it is whole, or that meets a fault under way, is no
// export, whatever came of it.
func TestExportThatIsNotWhole(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"broke off": func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write([]byte("{}\n"))
			require.NoError(t, err)
		},
		"a fault": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Lianfen-Fault")
			_, err := w.Write([]byte("{}\n"))
			require.NoError(t, err)
			w.Header().Set("Lianfen-Fault", "damaged")
		},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "a")
			ln, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
			require.NoError(t, err)
			server := &http.Server{Handler: answer, ReadHeaderTimeout: time.Second}
			served := make(chan error, 1)
			go func() { served <- server.Serve(ln) }()
			var out bytes.Buffer
			_, err = app.NewClient(socket).Export(t.Context(), whole(app.ExportJSONL), &out)
			require.ErrorContains(t, err, "export")
			require.NoError(t, server.Close())
			require.ErrorIs(t, <-served, http.ErrServerClosed)
		})
	}
}

// hledger accepts the exported journal, with every balance asserted, and its
// balances are the trial balance.
func TestHledgerAgrees(t *testing.T) {
	program, err := exec.LookPath("hledger")
	if err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "hledger is not installed: the exported journal was not checked by it (Debian: apt install hledger)")
	}
	_, r := playDay(t)
	totals, err := r.client.Totals(t.Context())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "day.journal")
	file, err := os.Create(path)
	require.NoError(t, err)
	_, err = r.client.Export(t.Context(), whole(app.ExportHledger), file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	r.stop(t)

	out, err := exec.CommandContext(t.Context(), program, "-f", path, "check", "--strict").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(t.Context(), program, "-f", path, "balance", "--flat", "--depth", "2", "--no-total", "--output-format", "csv").Output()
	require.NoError(t, err)
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	require.NoError(t, err)
	var want, got []string
	for _, total := range totals.Lines {
		want = append(want, fmt.Sprintf(`%d:%v %d "P%d"`, total.Program, total.Account, total.Amount, total.Program))
	}
	for _, row := range rows[1:] {
		got = append(got, row[0]+" "+row[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(t, want, got)

	// It would have seen a wrong balance.
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	wrong := strings.Replace(string(text), ` = 5000 "P901"`, ` = 5001 "P901"`, 1)
	require.NotEqual(t, string(text), wrong)
	require.NoError(t, os.WriteFile(path, []byte(wrong), 0o600))
	require.Error(t, exec.CommandContext(t.Context(), program, "-f", path, "check").Run())
}
