package app_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/reconcile"
	"github.com/lianfen/lianfen/tariff"
)

// partnerCSV is a file that a partner makes of what it has, in its own view.
func partnerCSV(t *testing.T, dir, name string, lines []string) string {
	t.Helper()
	sum := 0
	for _, line := range lines {
		amount := 0
		_, err := fmt.Sscan(strings.Split(line, ",")[5], &amount)
		require.NoError(t, err)
		sum += amount
	}
	text := "acquirer,stan,transmitted,rrn,kind,amount,asset,status\n" + strings.Join(lines, "\n") + fmt.Sprintf("\n#TOTAL,%d,%d\n", len(lines), sum)
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// A date is compared with both partners' files; what differs is an exception, what is
// missing is in doubt, what cannot be read is kept; an exception is ended by two persons,
// once; the run can be done again and comes to the same; a wrong file is refused whole.
func TestReconcileAtTheDoor(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	terminal := r.terminal(t, "T1")
	for _, amount := range []points.Amount{500, 300, 100} {
		require.Equal(t, points.Approved, send(t, terminal, points.Earn, firstCard, amount).Response.Reason)
	}
	require.Equal(t, points.Approved, send(t, terminal, points.Redeem, firstCard, 120).Response.Reason)
	r.indexed(t)
	totals, err := r.client.Totals(ctx)
	require.NoError(t, err)

	// With no line from an acquirer all is missing there, and tells what our keys are.
	dir := t.TempDir()
	run := app.Reconciling{Date: totals.Date, Acquirers: []app.PartnerFile{{Member: 20000001, Path: partnerCSV(t, dir, "none.csv", nil)}}}
	_, err = r.client.Reconcile(ctx, run)
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, "has not ended")
	run.Early = true
	first, err := r.client.Reconcile(ctx, run)
	require.NoError(t, err)
	require.True(t, first.Open)
	require.EqualValues(t, 4, first.InDoubt)
	list, err := r.client.Exceptions(ctx, app.ReconQuery{All: true})
	require.NoError(t, err)
	require.Len(t, list.Exceptions, 4)
	var acquirer, issuer []string
	for _, e := range list.Exceptions {
		require.Equal(t, reconcile.MissingAcq, e.Class)
		line := fmt.Sprintf("%d,%d,%d,%s,%s,%%d,%s,%s", e.Ours.Acquirer, e.Ours.STAN, e.Ours.When, e.RRN, e.Ours.Kind, e.Ours.Asset, e.Ours.Status)
		acquirer, issuer = append(acquirer, fmt.Sprintf(line, e.Ours.Amount)), append(issuer, fmt.Sprintf(line, -e.Ours.Amount))
	}
	require.Equal(t, "-500", strings.Split(acquirer[0], ",")[5], "the acquirer pays for what it grants")
	require.Equal(t, "120", strings.Split(acquirer[3], ",")[5])
	reasonIs(t, points.NotPermitted, func() error {
		_, err := r.client.ActOn(ctx, app.ReconActing{ID: list.Exceptions[0].ID, Action: app.ActionClose, Evidence: "x", Operator: "li", Second: "wang"})
		return err
	}())

	run.Acquirers[0].Path = partnerCSV(t, dir, "acquirer.csv", acquirer)
	run.Issuers = []app.PartnerFile{{Member: 10000001, Path: partnerCSV(t, dir, "issuer.csv", issuer)}}
	all, err := r.client.Reconcile(ctx, run)
	require.NoError(t, err)
	require.EqualValues(t, 4, all.Classes["MATCH"].Count)
	require.Zero(t, all.Exceptions+all.InDoubt)

	// What is found before the date has ended is provisional: it ends nothing.
	early := run
	early.Issuers = []app.PartnerFile{{Member: 10000001, Path: partnerCSV(t, dir, "early.csv", append([]string{issuer[0]}, issuer...))}}
	_, err = r.client.Reconcile(ctx, early)
	require.NoError(t, err)
	list, err = r.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Len(t, list.Exceptions, 1)
	require.True(t, list.Exceptions[0].Provisional)
	_, err = r.client.ActOn(ctx, app.ReconActing{ID: list.Exceptions[0].ID, Action: app.ActionClose, Evidence: "x", Operator: "li", Second: "wang"})
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, "had not ended")
	_, err = r.client.CutOver(ctx, app.CutOver{Force: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
	run.Early = false

	// The partner has a sale twice: it corrects that, and ours is not reversed.
	_, err = r.client.Reconcile(ctx, app.Reconciling{Date: run.Date, Issuers: early.Issuers})
	require.NoError(t, err)
	list, err = r.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Len(t, list.Exceptions, 1)
	require.Equal(t, reconcile.DupIss, list.Exceptions[0].Class)
	require.Equal(t, app.ActionClose, list.Exceptions[0].Action)
	require.False(t, list.Exceptions[0].Provisional)
	_, err = r.client.ActOn(ctx, app.ReconActing{ID: list.Exceptions[0].ID, Action: app.ActionReverse, Evidence: "x", Operator: "li", Second: "wang"})
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, "from a good sale")

	// Where the amount of a row cannot be read the sum is not checked, and that is told.
	unread := filepath.Join(dir, "unread.csv")
	text, err := os.ReadFile(partnerCSV(t, dir, "issuer.csv", issuer))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(unread, []byte(strings.Replace(string(text), ",500,", ",5o0,", 1)), 0o600))
	told, err := r.client.Reconcile(ctx, app.Reconciling{Date: run.Date, Issuers: []app.PartnerFile{{Member: 10000001, Path: unread}}})
	require.NoError(t, err)
	require.Equal(t, []string{"issuer 10000001: " + unread}, told.Unsummed)

	// The issuer has another amount, one line twice, and one that nobody else has.
	wrong := []string{strings.Replace(issuer[0], ",500,", ",501,", 1), issuer[1], issuer[1], issuer[2], issuer[3], strings.Replace(issuer[3], ",00000000", ",99999999", 1)}
	run.Issuers[0].Path = partnerCSV(t, dir, "wrong.csv", wrong)
	bad, err := r.client.Reconcile(ctx, run)
	require.NoError(t, err)
	require.EqualValues(t, 1, bad.Classes["AMOUNT"].Count)
	require.EqualValues(t, 1, bad.Classes["DUP_ISS"].Count)
	require.EqualValues(t, 1, bad.Classes["MISSING_SWITCH"].Count)
	require.EqualValues(t, 2, bad.Exceptions)
	again, err := r.client.Reconcile(ctx, run)
	require.NoError(t, err)
	list, err = r.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Len(t, list.Exceptions, 2)
	require.Equal(t, "issuer 10000001", list.Exceptions[0].Owner)
	again.Millis = bad.Millis
	require.Equal(t, bad, again)

	// Refused whole: what was found before stands.
	text, err = os.ReadFile(run.Issuers[0].Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cut.csv"), text[:len(text)-8], 0o600))
	cut := run
	cut.Issuers = []app.PartnerFile{{Member: 10000001, Path: filepath.Join(dir, "cut.csv")}}
	_, err = r.client.Reconcile(ctx, cut)
	reasonIs(t, points.FormatError, err)
	require.ErrorContains(t, err, "is refused")
	after, err := r.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Equal(t, list, after)
	for member, name := range map[uint64]string{99: "acquirer", 10000001: "acquirer", 20000001 + 1<<32: "acquirer", 20000001: "issuer"} {
		file, q := []app.PartnerFile{{Member: member, Path: run.Acquirers[0].Path}}, app.Reconciling{Date: run.Date}
		if q.Acquirers = file; name == "issuer" {
			q.Acquirers, q.Issuers = nil, file
		}
		_, err = r.client.Reconcile(ctx, q)
		reasonIs(t, points.NoRoute, err)
		require.ErrorContains(t, err, fmt.Sprintf("no %s has the number %d", name, member))
	}
	after, err = r.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Equal(t, list, after, "what is refused replaces nothing")
	for _, q := range []app.Reconciling{{}, {Date: run.Date}, {Date: 20200101, Acquirers: run.Acquirers}, {Date: run.Date, Acquirers: []app.PartnerFile{{Member: 1, Path: "x"}}}} {
		_, err = r.client.Reconcile(ctx, q)
		require.Error(t, err)
	}

	// Two persons end it, once; a rejected act leaves it open.
	li := r.enrol(t, r.client, "li", book.RoleAdmin|book.RoleOperator|book.RoleApprover)
	wang := r.enrol(t, li.client, "wang", book.RoleAdmin|book.RoleOperator|book.RoleApprover)
	_, err = li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)
	act := app.ReconActing{ID: list.Exceptions[0].ID, Action: app.ActionAdjust, Payer: 10000001, Payee: 20000001, Amount: 10_000}
	_, err = li.client.ActOn(ctx, act)
	require.ErrorContains(t, err, "name the evidence")
	act.Evidence = "mail of 03-02"
	state := func() []app.ReconAct {
		shown, err := li.client.Exceptions(ctx, app.ReconQuery{ID: act.ID})
		require.NoError(t, err)
		return shown.Exceptions[0].Acts
	}
	done, err := li.client.ActOn(ctx, act)
	require.NoError(t, err)
	require.NotEmpty(t, done.Pending)
	require.Equal(t, "pending", state()[0].State)
	_, err = li.client.ActOn(ctx, act)
	reasonIs(t, points.AlreadyExists, err)
	burn := act
	burn.Action = "burn"
	_, err = li.client.ActOn(ctx, burn)
	reasonIs(t, points.FormatError, err)
	require.ErrorContains(t, err, `action "burn": want one of suspense, post, adjust, reverse, close`, "whatever waits")
	_, err = wang.client.Reject(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	require.Equal(t, "rejected", state()[0].State)
	done, err = li.client.ActOn(ctx, act)
	require.NoError(t, err)
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Contains(t, pending[0].What, "adjust exception "+act.ID+" of the reconciliation: ADJ: 10000001 pays 20000001 1.0000 QZP")
	require.Contains(t, pending[0].What, "evidence mail of 03-02")
	_, err = wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	require.Equal(t, "done", state()[1].State)
	left, err := li.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Len(t, left.Exceptions, 1)
	for _, action := range []string{"", "burn", app.ActionPost} {
		_, err = li.client.ActOn(ctx, app.ReconActing{ID: left.Exceptions[0].ID, Action: action, Evidence: "x"})
		if action == app.ActionPost { // Nobody is named: it is not put before a second person.
			require.ErrorContains(t, err, "payer and payee are two members")
			continue
		}
		reasonIs(t, points.FormatError, err)
	}

	// What books nothing says so, and which exception it ends: to who approves it, and ever after.
	closing := app.ReconActing{ID: left.Exceptions[0].ID, Action: app.ActionClose, Evidence: "letter of 03-03", Note: "theirs"}
	done, err = li.client.ActOn(ctx, closing)
	require.NoError(t, err)
	pending, err = wang.client.Pending(ctx)
	require.NoError(t, err)
	sentence := "close exception " + closing.ID + " of the reconciliation: nothing is booked, and it is over; evidence: letter of 03-03"
	require.Contains(t, pending[0].What, sentence)
	approved, err := wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	shown, err := li.client.Detail(ctx, approved.RRN)
	require.NoError(t, err)
	require.Contains(t, shown.What, sentence)
	act.ID = closing.ID
	require.Equal(t, "done", state()[0].State)
	r.stop(t)
}

// detailOf is the detail file of a member, rewritten: change gives the lines that it will
// have, and the header that they are under.
func detailOf(t *testing.T, path string, change func(*files.Header, []files.Line) []files.Line) string {
	t.Helper()
	in, err := os.Open(path)
	require.NoError(t, err)
	reader, broken, err := files.NewDetailReader(in)
	require.NoError(t, err)
	require.Empty(t, broken)
	var lines []files.Line
	for {
		var line files.Line
		more, broken, err := reader.Next(&line)
		require.NoError(t, err)
		require.Empty(t, broken)
		if !more {
			break
		}
		lines = append(lines, line)
	}
	require.NoError(t, in.Close())
	header := reader.Header()
	lines = change(&header, lines)
	dir := t.TempDir()
	w, err := files.NewDetail(header, uint64(len(lines)), false, func(name string) (io.WriteCloser, error) {
		return os.Create(filepath.Join(dir, name))
	})
	require.NoError(t, err)
	for i := range lines {
		require.NoError(t, w.Write(&lines[i], ""))
	}
	out, err := w.Close()
	require.NoError(t, err)
	return filepath.Join(dir, out[0].Name)
}

// settledDay is a switch with a published day of every kind of item that a small town has,
// and the detail files of its acquirer and its issuer.
func settledDay(t *testing.T) (h *house, r *running, date points.BusinessDate, acquirer, issuer string) {
	t.Helper()
	clock := new(shifted)
	h = newHouse(t, "settlement.run=publish", "time_zone=America/New_York")
	h.clock = clock.clock
	r = h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	_ = r.published(t)
	totals, err := r.client.Totals(ctx)
	require.NoError(t, err)
	date = totals.Date
	terminal := r.terminal(t, "T2")
	require.Equal(t, points.Approved, send(t, terminal, points.Earn, firstCard, 500).Response.Reason)
	sale := send(t, terminal, points.Redeem, firstCard, 120).Response
	require.Equal(t, points.Approved, sale.Reason)
	require.Equal(t, points.Approved, send(t, terminal, points.Redeem, firstCard, 30).Response.Reason)
	position := sale.Position.RRN()
	_, err = r.client.Dispute(ctx, app.DisputeEntry{RRN: string(position[:]), Open: true, Code: "CB01", Amount: 50, Evidence: "letter", Operator: "li", Second: "wang"})
	require.NoError(t, err)
	_, err = r.client.Leg(ctx, app.LegEntry{Kind: tariff.KindADJ, Payer: 10000001, Payee: 20000001, Amount: 12_500, Note: "short paid", Operator: "li", Second: "wang"})
	require.NoError(t, err)
	_, err = r.client.CutOver(ctx, app.CutOver{Force: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
	var folder string
	require.Eventually(t, func() bool {
		runs, err := r.client.SettleShow(ctx, app.SettleAsk{})
		require.NoError(t, err)
		for _, run := range runs {
			if run.Cut.Date == date && run.State >= settlement.Published {
				folder = filepath.Join(h.config.Data, app.SettlementFolder, run.ID)
			}
		}
		return folder != ""
	}, 30*time.Second, 50*time.Millisecond)
	of := func(member, role string) string {
		found, err := filepath.Glob(filepath.Join(folder, member, "QZ_DET_"+member+"_"+role+"_*.txt"))
		require.NoError(t, err)
		require.Len(t, found, 1)
		return found[0]
	}
	return h, r, date, of("20000001", "A"), of("10000001", "I")
}

// The detail files that settlement makes are what the journal is compared to: as they are
// they are equal by their totals, and line by line too; what was changed on the way is
// found as what it is, or refused.
func TestReconcileDetailFiles(t *testing.T) {
	_, r, date, acquirer, issuer := settledDay(t)
	ctx := t.Context()
	run := func(acquirers, issuers []string, lines bool) (app.Reconciled, error) {
		q := app.Reconciling{Date: date, Lines: lines}
		for _, path := range acquirers {
			q.Acquirers = append(q.Acquirers, app.PartnerFile{Member: 20000001, Path: path})
		}
		for _, path := range issuers {
			q.Issuers = append(q.Issuers, app.PartnerFile{Member: 10000001, Path: path})
		}
		return r.client.Reconcile(ctx, q)
	}
	for _, lines := range []bool{false, true} {
		all, err := run([]string{acquirer}, []string{issuer}, lines)
		require.NoError(t, err)
		require.EqualValues(t, 5, all.Classes["MATCH"].Count, "%+v", all)
		require.Equal(t, map[string]uint64{"switch": 5, "acquirer": 5, "issuer": 5}, all.Lines)
		require.Zero(t, all.Exceptions+all.InDoubt+all.Timing+all.Unchecked+all.BadRows, "%+v", all)
		if lines {
			require.Empty(t, all.ByTotals)
		} else {
			require.Equal(t, []string{"acquirer 20000001", "issuer 10000001"}, all.ByTotals)
		}
	}

	lost := func(_ *files.Header, lines []files.Line) []files.Line { return lines[1:] }
	twice := func(_ *files.Header, lines []files.Line) []files.Line { return append(lines, lines[0]) }
	more := func(_ *files.Header, lines []files.Line) []files.Line { // Still computes by itself.
		lines[4].Amount, lines[4].Std, lines[4].Net = lines[4].Amount+1, lines[4].Std+1, lines[4].Net+1
		return lines
	}
	for _, c := range []struct {
		change func(*files.Header, []files.Line) []files.Line
		class  string
		counts [2]uint64 // in doubt, exceptions
	}{{lost, "MISSING_ACQ", [2]uint64{1, 0}}, {twice, "DUP_ACQ", [2]uint64{0, 1}}, {more, "AMOUNT", [2]uint64{0, 1}}} {
		bad, err := run([]string{detailOf(t, acquirer, c.change)}, []string{issuer}, false)
		require.NoError(t, err)
		require.EqualValues(t, 1, bad.Classes[c.class].Count, "%s: %+v", c.class, bad)
		require.Equal(t, [2]uint64{bad.InDoubt, bad.Exceptions}, c.counts, c.class)
		require.Equal(t, []string{"issuer 10000001"}, bad.ByTotals, c.class)
		require.Len(t, bad.Totals, 1, c.class)
	}

	// Refused whole, and what was found before stands.
	text, err := os.ReadFile(acquirer)
	require.NoError(t, err)
	tampered := filepath.Join(t.TempDir(), "tampered.txt")
	require.NoError(t, os.WriteFile(tampered, []byte(strings.Replace(string(text), "RDM", "XDM", 1)), 0o600))
	late := detailOf(t, acquirer, func(h *files.Header, lines []files.Line) []files.Line {
		h.Date = h.Date.AddDays(1)
		return lines
	})
	half := resealed(t, text, "0001 QZP 4", "0002 QZP 4") // the first of two parts
	before, err := r.client.Exceptions(ctx, app.ReconQuery{All: true})
	require.NoError(t, err)
	for want, paths := range map[string][]string{"it has 2 parts, and part 2 is not named": {half}, "sha": {tampered}, "want 20000001 on " + date.String(): {late}, "is named twice": {acquirer, acquirer}, "role I": {issuer}} {
		_, err := run(paths, nil, false)
		reasonIs(t, points.FormatError, err)
		require.ErrorContains(t, err, want)
	}
	after, err := r.client.Exceptions(ctx, app.ReconQuery{All: true})
	require.NoError(t, err)
	require.Equal(t, before, after)

	// What was equal on its date is one too many in the file of the next.
	_, err = run([]string{acquirer}, []string{issuer}, false)
	require.NoError(t, err)
	_, err = r.client.CutOver(ctx, app.CutOver{Force: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
	date = date.AddDays(1)
	again := detailOf(t, issuer, func(h *files.Header, lines []files.Line) []files.Line {
		h.Date = date
		return lines[:1]
	})
	dup, err := run(nil, []string{again}, false)
	require.NoError(t, err)
	require.EqualValues(t, 1, dup.Classes["DUP_ISS"].Count, "%+v", dup)
	require.EqualValues(t, 1, dup.Exceptions)
	r.stop(t)
}

// resealed is a detail file in which one text is another, and whose trailer has the digest of
// it.
func resealed(t *testing.T, text []byte, one, other string) string {
	t.Helper()
	require.Equal(t, 1, strings.Count(string(text), one))
	changed := strings.Replace(string(text), one, other, 1)
	at := strings.LastIndex(changed, "TR ")
	changed = changed[:at+171] + fmt.Sprintf("%x", sha256.Sum256([]byte(changed[:at]))) + "\r\n"
	path := filepath.Join(t.TempDir(), "resealed.txt")
	require.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
	return path
}

// An item of an institution's own points at its own merchant stands in its acquirer's file
// only: the issuer's need not have it, and one that has it has something that is not ours.
func TestReconcileOnUs(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	r.load(t, `
acquirers: [{id: 10000001, name: Issuer as acquirer}]
merchants: [{id: M9, acquirer: 10000001, name: Own, programs: [901]}]
terminals: [{id: T9, merchant: M9}]
`)
	ctx := t.Context()
	require.Equal(t, points.Approved, send(t, r.terminal(t, "T1"), points.Earn, firstCard, 500).Response.Reason)
	who, err := sim.ParseIdentity("T9", "M9")
	require.NoError(t, err)
	own := sim.NewTerminal(r.Address("pos").String(), who, 0, now)
	t.Cleanup(func() { _ = own.HangUp() })
	require.Equal(t, points.Approved, send(t, own, points.Redeem, firstCard, 120).Response.Reason)
	r.indexed(t)
	totals, err := r.client.Totals(ctx)
	require.NoError(t, err)

	dir := t.TempDir()
	run := func(acquirer, issuer []string) app.Reconciled {
		t.Helper()
		result, err := r.client.Reconcile(ctx, app.Reconciling{
			Date: totals.Date, Early: true,
			Acquirers: []app.PartnerFile{{Member: 10000001, Path: partnerCSV(t, dir, "acquirer.csv", acquirer)}},
			Issuers:   []app.PartnerFile{{Member: 10000001, Path: partnerCSV(t, dir, "issuer.csv", issuer)}},
		})
		require.NoError(t, err)
		return result
	}
	none := run(nil, nil)
	require.Equal(t, []uint64{1, 1, 2}, []uint64{none.Classes["MISSING_ACQ"].Count, none.Classes["MISSING_ISS"].Count, none.InDoubt})
	list, err := r.client.Exceptions(ctx, app.ReconQuery{All: true})
	require.NoError(t, err)
	lines := make(map[reconcile.Class]string)
	for _, e := range list.Exceptions {
		amount := e.Ours.Amount
		if e.Class == reconcile.MissingIss {
			amount = -amount
		}
		lines[e.Class] = fmt.Sprintf("%d,%d,%d,%s,%s,%d,%s,%s", e.Ours.Acquirer, e.Ours.STAN, e.Ours.When, e.RRN, e.Ours.Kind, amount, e.Ours.Asset, e.Ours.Status)
	}
	onUs, earn := lines[reconcile.MissingAcq], lines[reconcile.MissingIss]
	require.Contains(t, onUs, ",RDM,120,")
	all := run([]string{onUs}, []string{earn})
	require.EqualValues(t, 2, all.Classes["MATCH"].Count, "%+v", all)
	require.Zero(t, all.Exceptions+all.InDoubt+all.Timing+all.BadRows, "%+v", all)
	both := run([]string{onUs}, []string{earn, strings.Replace(onUs, ",120,", ",-120,", 1)})
	require.EqualValues(t, 1, both.Exceptions+both.InDoubt, "%+v", both)
	r.stop(t)
}

// What an early look leaves is gone with the date: the next date's run takes none of its doubts
// over, nothing of it is listed, and the date itself is run as if nobody had looked.
func TestEarlyLookLeavesNothingBehind(t *testing.T) {
	r := newHouse(t).start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	terminal := r.terminal(t, "T1")
	require.Equal(t, points.Approved, send(t, terminal, points.Earn, firstCard, 500).Response.Reason)
	totals, err := r.client.Totals(ctx)
	require.NoError(t, err)
	nothing := []app.PartnerFile{{Member: 20000001, Path: partnerCSV(t, t.TempDir(), "none.csv", nil)}}
	bad := filepath.Join(t.TempDir(), "bad.csv")
	require.NoError(t, os.WriteFile(bad, []byte("acquirer,stan,transmitted,rrn,kind,amount,asset\nnonsense,,,,,,\n#TOTAL,1,0\n"), 0o600))
	early, err := r.client.Reconcile(ctx, app.Reconciling{Date: totals.Date, Early: true, Acquirers: []app.PartnerFile{{Member: 20000001, Path: bad}}})
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 1}, []uint64{early.InDoubt, early.Exceptions})
	listed := func(q app.ReconQuery) int {
		q.All = true
		list, err := r.client.Exceptions(ctx, q)
		require.NoError(t, err)
		return len(list.Exceptions)
	}
	require.Equal(t, 2, listed(app.ReconQuery{}), "as long as the date runs")
	_, err = r.client.CutOver(ctx, app.CutOver{Force: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
	require.Zero(t, listed(app.ReconQuery{}), "the date has ended: it was a look only")
	require.DirExists(t, early.Folder)

	next, err := r.client.Reconcile(ctx, app.Reconciling{Date: totals.Date.AddDays(1), Early: true, Acquirers: nothing})
	require.NoError(t, err)
	require.Equal(t, []any{points.BusinessDate(0), uint64(0), uint64(0)}, []any{next.Before, next.InDoubt, next.Exceptions}, "the early look's doubts are not the next date's")
	require.NoDirExists(t, early.Folder)
	require.DirExists(t, next.Folder)
	proper, err := r.client.Reconcile(ctx, app.Reconciling{Date: totals.Date, Acquirers: nothing})
	require.NoError(t, err)
	require.EqualValues(t, 1, proper.InDoubt)
	next, err = r.client.Reconcile(ctx, app.Reconciling{Date: totals.Date.AddDays(1), Early: true, Acquirers: nothing})
	require.NoError(t, err)
	require.Equal(t, []any{totals.Date, uint64(1)}, []any{next.Before, next.InDoubt}, "those of a date that has ended are")
	require.DirExists(t, proper.Folder)
	r.stop(t)
}

// A partner that does not keep DE37 leaves it out: its lines are compared all the same, and
// one that comes again on another date is known by acquirer, DE7 and DE11, as one with DE37
// is. Two of ours that have these in common are not told apart by guessing.
func TestReconcileWithoutDE37(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	terminal := r.terminal(t, "T1")
	for _, amount := range []points.Amount{500, 300} {
		require.Equal(t, points.Approved, send(t, terminal, points.Earn, firstCard, amount).Response.Reason)
	}
	r.indexed(t)
	totals, err := r.client.Totals(ctx)
	require.NoError(t, err)
	_, err = r.client.CutOver(ctx, app.CutOver{Force: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
	dir := t.TempDir()
	run := func(date points.BusinessDate, acquirer, issuer []string) app.Reconciled {
		t.Helper()
		result, err := r.client.Reconcile(ctx, app.Reconciling{
			Date: date, Early: true,
			Acquirers: []app.PartnerFile{{Member: 20000001, Path: partnerCSV(t, dir, "acquirer.csv", acquirer)}},
			Issuers:   []app.PartnerFile{{Member: 10000001, Path: partnerCSV(t, dir, "issuer.csv", issuer)}},
		})
		require.NoError(t, err)
		return result
	}
	run(totals.Date, nil, nil)
	list, err := r.client.Exceptions(ctx, app.ReconQuery{All: true})
	require.NoError(t, err)
	var acquirer, issuer []string
	for _, e := range list.Exceptions {
		if e.Class != reconcile.MissingAcq {
			continue
		}
		line := fmt.Sprintf("%d,%d,%d,,%s,%%d,%s,%s", e.Ours.Acquirer, e.Ours.STAN, e.Ours.When, e.Ours.Kind, e.Ours.Asset, e.Ours.Status)
		acquirer, issuer = append(acquirer, fmt.Sprintf(line, e.Ours.Amount)), append(issuer, fmt.Sprintf(line, -e.Ours.Amount))
	}
	require.Len(t, acquirer, 2)

	all := run(totals.Date, acquirer, issuer)
	require.EqualValues(t, 2, all.Classes["MATCH"].Count, "%+v", all)
	require.Zero(t, all.Exceptions+all.InDoubt+all.BadRows, "%+v", all)
	twice := run(totals.Date, append(acquirer, acquirer[1]), issuer)
	require.EqualValues(t, 1, twice.Classes["DUP_ACQ"].Count, "%+v", twice)
	missing := run(totals.Date, acquirer[:1], issuer)
	require.EqualValues(t, 1, missing.Classes["MISSING_ACQ"].Count, "%+v", missing)

	next := totals.Date.AddDays(1)
	late := run(next, acquirer, issuer[:1]) // The first again on both sides; the second late, from the acquirer.
	require.Equal(t, []uint64{1, 1, 2, 0}, []uint64{late.Classes["DUP_ACQ"].Count, late.Classes["DUP_ISS"].Count, late.Exceptions, late.InDoubt}, "%+v", late)
	strange := run(next, []string{strings.Replace(acquirer[0], "20000001,", "20000001,9", 1)}, nil)
	require.EqualValues(t, 1, strange.Classes["MISSING_SWITCH"].Count, "%+v", strange)
	list, err = r.client.Exceptions(ctx, app.ReconQuery{Date: next, Class: "MISSING_SWITCH", All: true})
	require.NoError(t, err)
	require.Empty(t, strings.TrimSpace(list.Exceptions[0].RRN))
	r.stop(t)
}
