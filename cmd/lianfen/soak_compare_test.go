package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// soakLine is a line of the journal's export.
type soakLine struct {
	RRN      string        `json:"rrn"`
	Kind     string        `json:"kind"`
	Function string        `json:"function"`
	Reason   string        `json:"reason"`
	Terminal string        `json:"terminal"`
	STAN     string        `json:"stan"`
	Card     string        `json:"card"`
	Amount   points.Amount `json:"amount"`
	Original string        `json:"original"`
	Date     string        `json:"business_date"`
	Postings []struct {
		Account string           `json:"account"`
		Program points.ProgramID `json:"program"`
		Amount  points.Amount    `json:"amount"`
	} `json:"postings"`
}

// soakState is what the issuer prints; cards are masked.
type soakState struct {
	Accounts []struct {
		Card      string        `json:"card"`
		Available points.Amount `json:"available"`
		Held      points.Amount `json:"held"`
	} `json:"accounts"`
	Messages     map[string]uint64 `json:"messages"`
	Faults       map[string]uint64 `json:"faults"`
	Repeats      uint64            `json:"repeats"`
	Transactions []struct {
		RRN      string        `json:"rrn"`
		STAN     points.STAN   `json:"stan"`
		Function string        `json:"function"`
		Card     string        `json:"card"`
		Amount   points.Amount `json:"amount"`
		Code     string        `json:"code"`
		Standing sim.Standing  `json:"standing"`
		Moved    points.Amount `json:"moved"`
		Held     points.Amount `json:"held"`
	} `json:"transactions"`
}

// triple is one transaction as the three of them see it: what the issuer pays for it
// to the acquirer, and what it holds.
type triple struct {
	deal               *deal
	receipts, clearing points.Amount
	suspense           points.Amount // what operators moved there
	issuer             points.Amount
	receiptsHeld       points.Amount
	issuerHeld         points.Amount
}

func (c *triple) agrees(queued bool) bool {
	return c.receipts == c.clearing && c.issuer == c.clearing+c.suspense && c.receiptsHeld == c.issuerHeld && (queued || c.suspense == 0)
}

// comparison is what was compared, and the sums.
type comparison struct {
	kinds  map[string]int // records of the journal
	codes  map[string]int // answers to customers
	state  soakState
	sum    triple
	queued map[string]int // by reason
}

// compare ends what is queued as operators do, who ask the issuer, and compares the
// receipts, the journal and the issuer's book by RRN and in sum.
func (s *soak) compare(t *testing.T, queued map[string]app.Owed) comparison {
	t.Helper()
	c := comparison{kinds: map[string]int{}, codes: map[string]int{}, queued: map[string]int{}}
	require.NoError(t, json.Unmarshal([]byte(s.issuer.terminate(t)), &c.state))
	issuer, issuerHeld := map[string]points.Amount{}, map[string]points.Amount{}
	for i := range c.state.Transactions {
		e := &c.state.Transactions[i]
		issuer[e.RRN] -= e.Moved
		issuerHeld[e.RRN] += e.Held
	}
	for _, o := range queued {
		c.queued[fmt.Sprintf("%s of %v: %s", o.Kind, o.Function, o.Refusal)]++
		_, err := s.switchd.client().Resolve(t.Context(), app.Resolution{
			RRN: o.RRN, Stands: issuer[o.RRN] != 0 || issuerHeld[o.RRN] != 0, Operator: "li", Second: "wang", Note: "the issuer's book",
		})
		require.NoError(t, err)
	}
	journal := s.export(t)
	all, known := map[string]*triple{}, map[string]string{}
	at := func(rrn string) *triple {
		if all[rrn] == nil {
			all[rrn] = &triple{issuer: issuer[rrn], issuerHeld: issuerHeld[rrn]}
		}
		return all[rrn]
	}
	for rrn := range issuer {
		at(rrn)
	}
	for i := range journal {
		line := &journal[i]
		c.kinds[line.Kind]++
		rrn := line.RRN
		switch line.Kind {
		case "forward", "void", "refund", "capture", "release":
			known[line.Terminal+" "+line.STAN] = rrn
		default:
			rrn = line.Original
		}
		for _, p := range line.Postings {
			switch p.Account {
			case "clearing":
				at(rrn).clearing += p.Amount
			case "suspense":
				at(rrn).suspense += p.Amount
			}
		}
	}
	for _, d := range s.deals {
		switch {
		case d.reversed:
			c.codes["unheard, reversed"]++
		case d.lost:
			c.codes["unheard, given up"]++
		default:
			c.codes[d.receipt.Response.Reason.String()]++
		}
		name := d.receipt.Request.Terminal.String() + " " + d.receipt.Request.STAN.String()
		rrn := known[name]
		if position := d.receipt.Response.Position; position != 0 {
			told := position.RRN()
			require.Equal(t, rrn, string(told[:]), "the receipt of %s names another record", name)
		}
		one := at(rrn)
		one.deal = d
		pays, holds := d.effect()
		one.receipts += pays
		one.receiptsHeld += holds
	}
	for _, one := range all {
		if one.deal != nil && one.deal.lost { // Switch and issuer have to agree all the same.
			one.receipts, one.receiptsHeld = one.clearing, one.issuerHeld
		}
	}
	s.judge(t, &c, all, queued, journal)
	return c
}

// lostCard is the card that the issuer declines whatever it is used for: what was done
// with it in the issuer's place is all that the issuer may refuse to be told.
const lostCard = "622203*********0057"

// judge prints every difference, and whatever is queued without need, with all that is
// known of it.
func (s *soak) judge(t *testing.T, c *comparison, all map[string]*triple, queued map[string]app.Owed, journal []soakLine) {
	t.Helper()
	differences := 0
	for _, rrn := range slices.Sorted(maps.Keys(all)) {
		one := all[rrn]
		c.sum.receipts += one.receipts
		c.sum.clearing += one.clearing
		c.sum.suspense += one.suspense
		c.sum.issuer += one.issuer
		c.sum.receiptsHeld += one.receiptsHeld
		c.sum.issuerHeld += one.issuerHeld
		o, waits := queued[rrn]
		if one.agrees(waits) && (!waits || o.Card == lostCard) {
			continue
		}
		if differences++; differences > 20 {
			continue
		}
		t.Error(s.explain(c, rrn, one, journal))
	}
	require.Zero(t, differences, "transactions that the three do not agree on")
	var before, after points.Amount
	for _, a := range c.state.Accounts {
		after += a.Available + a.Held
	}
	for i := range soakCards {
		before += 2 * soakFundsOf(i)
	}
	require.Equal(t, before-c.sum.issuer, after, "the issuer's balances are not the sum of its entries")
	totals, err := s.switchd.client().Totals(t.Context())
	require.NoError(t, err)
	var clearing points.Amount
	for _, line := range totals.Lines {
		if line.Account.String() == "clearing" {
			clearing += line.Amount
		}
	}
	require.Equal(t, c.sum.clearing, clearing, "the trial balance is not the sum of the records")
}

// explain tells all that is known of a transaction.
func (s *soak) explain(c *comparison, rrn string, one *triple, journal []soakLine) string {
	var text strings.Builder
	fmt.Fprintf(&text, "RRN %q: receipts %d, clearing %d, suspense %d, issuer %d; held: receipts %d, issuer %d\n",
		rrn, one.receipts, one.clearing, one.suspense, one.issuer, one.receiptsHeld, one.issuerHeld)
	if d := one.deal; d != nil {
		req := &d.receipt.Request
		fmt.Fprintf(&text, "  receipt: %v card %v terminal %v STAN %v amount %d: %v, reversed %v\n",
			req.Function, req.PAN.Masked(), req.Terminal, req.STAN, req.Amount, d.receipt.Response.Reason, d.reversed)
		if d.about != nil {
			fmt.Fprintf(&text, "    about RRN %d\n", d.about.receipt.Response.Position)
		}
	} else {
		text.WriteString("  no receipt\n")
	}
	for i := range journal {
		if line := &journal[i]; line.RRN == rrn || line.Original == rrn {
			fmt.Fprintf(&text, "  journal: %+v\n", *line)
		}
	}
	for i := range c.state.Transactions {
		if e := &c.state.Transactions[i]; e.RRN == rrn {
			fmt.Fprintf(&text, "  issuer: %+v\n", *e)
		}
	}
	return text.String()
}

// export reads the journal as the command exports it.
func (s *soak) export(t *testing.T) []soakLine {
	t.Helper()
	status, err := s.switchd.client().Status(t.Context())
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	_, stderr, code := lianfen(t, "ledger", "export", "--socket", filepath.Join(s.dir, "admin.sock"), "--format", "jsonl",
		"--from", points.BusinessDate(20200101).String(), "--to", status.Date.String(), "--output", path)
	require.Zero(t, code, stderr)
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	var journal []soakLine
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line soakLine
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &line))
		journal = append(journal, line)
	}
	require.NoError(t, scanner.Err())
	return journal
}

// report says what the run was.
func (s *soak) report(t *testing.T, c comparison, records uint64) {
	t.Helper()
	t.Logf("%d transactions, %d repeated, %d reversed, %d given up by their terminal; %d kills, %d cuts, %d times frozen; %d records proved",
		len(s.deals), s.resent.Load(), s.reversed.Load(), s.lost.Load(), s.kills, s.cuts, s.freezes, records)
	t.Logf("answers: %v", c.codes)
	t.Logf("faults: %v", c.state.Faults)
	t.Logf("at the issuer: %v, %d of them again", c.state.Messages, c.state.Repeats)
	t.Logf("in the journal: %v", c.kinds)
	t.Logf("in the operators' queue: %v", c.queued)
	t.Logf("sums: receipts %d, clearing %d, issuer %d, suspense %d; held: receipts %d, issuer %d",
		c.sum.receipts, c.sum.clearing, c.sum.issuer, c.sum.suspense, c.sum.receiptsHeld, c.sum.issuerHeld)
}
