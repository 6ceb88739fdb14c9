package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// ExportFormat is how an export is written.
type ExportFormat string

// Formats of an export.
const (
	// ExportJSONL is one [Detail] a line, declines too.
	ExportJSONL ExportFormat = "jsonl"
	// ExportCSV is one posting a line, under a line of names (see exportColumns), and
	// one line for a record without postings.
	ExportCSV ExportFormat = "csv"
	// ExportHledger is a plain-text accounting journal, one transaction for each
	// record with postings.
	ExportHledger ExportFormat = "hledger"
)

// Exporting says what to export: the records of the business dates From to To,
// both included.
type Exporting struct {
	From   points.BusinessDate `json:"from"`
	To     points.BusinessDate `json:"to"`
	Format ExportFormat        `json:"format"`
}

func (e Exporting) check() error {
	switch {
	case !e.From.Valid() || !e.To.Valid() || e.To < e.From:
		return points.Errorf(points.FormatError, "export: %v to %v is no range of business dates", e.From, e.To)
	case e.Format != ExportJSONL && e.Format != ExportCSV && e.Format != ExportHledger:
		return points.Errorf(points.FormatError, "export: format %q, want %s, %s or %s", e.Format, ExportJSONL, ExportCSV, ExportHledger)
	}
	return nil
}

// journal is what is exported: of a ledger that serves, or of a store at rest.
type journal interface {
	Durable() points.Position
	Record(points.Position) (book.Record, error)
	Scan(ctx context.Context, from, to points.Position, visit func(*book.Record) error) error
}

var (
	_ journal = (*ledger.Ledger)(nil)
	_ journal = (*ledger.Archive)(nil)
)

// recordWriter writes records in one format.
type recordWriter interface {
	write(*Detail) error
	end() error
}

// export writes the records of a range, one at a time, and counts them. Cards
// are shown masked, and not at all when key is nil.
func export(ctx context.Context, j journal, key *certs.CardKey, e Exporting, w io.Writer) (records uint64, err error) {
	if err := e.check(); err != nil {
		return 0, err
	}
	from, to, err := positionsOf(j, e)
	if err != nil {
		return 0, err
	}
	buffered := bufio.NewWriterSize(w, 64<<10)
	out, err := newRecordWriter(e, from == 1, buffered)
	if err != nil {
		return 0, err
	}
	err = j.Scan(ctx, from, to, func(rec *book.Record) error {
		records++
		d, err := detailFor(key, rec)
		if err != nil {
			return err
		}
		return out.write(&d)
	})
	if err := errors.Join(err, out.end(), buffered.Flush()); err != nil {
		return records, fmt.Errorf("export: %w", err)
	}
	return records, nil
}

// positionsOf finds the range of positions of a range of business dates, which
// only grow along the journal. An empty range has from > to.
func positionsOf(j journal, e Exporting) (from, to points.Position, err error) {
	if from, err = firstOf(j, e.From); err != nil {
		return 0, 0, err
	}
	after, err := firstOf(j, e.To+1)
	return from, after - 1, err
}

// firstOf is the position of the first record of a business date or a later one; the
// one after the journal's end when there is none.
func firstOf(j journal, date points.BusinessDate) (first points.Position, err error) {
	n := sort.Search(int(j.Durable()), func(i int) bool { //nolint:gosec // positions fit.
		if err != nil {
			return true
		}
		var rec book.Record
		rec, err = j.Record(points.Position(i) + 1) //nolint:gosec // 0 <= i < the end.
		return rec.Outcome.Date >= date
	})
	return points.Position(n) + 1, err //nolint:gosec // 0 <= n <= the end.
}

func newRecordWriter(e Exporting, fromTheFirst bool, w io.Writer) (recordWriter, error) {
	switch e.Format {
	case ExportCSV:
		lines := csv.NewWriter(w)
		return csvRecords{lines}, lines.Write(exportColumns())
	case ExportHledger:
		h := hledgerRecords{w: w, fromTheFirst: fromTheFirst, accounts: make(map[string]bool), commodities: make(map[points.ProgramID]bool)}
		return h, h.begin(e)
	default:
		return jsonRecords{w}, nil
	}
}

// jsonRecords writes one JSON object a line.
type jsonRecords struct {
	w io.Writer
}

func (j jsonRecords) write(d *Detail) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(d); err != nil {
		return err
	}
	_, err := j.w.Write(points.EscapedJSON(line.Bytes()))
	return err
}

func (jsonRecords) end() error { return nil }

// csvRecords writes one posting a line.
type csvRecords struct {
	lines *csv.Writer
}

// exportColumns are the columns of the CSV export. Those up to put are of the record
// and stand on the line of each of its postings; amount is the posting, credit
// positive, and balance the account's afterwards. Of a record without postings, such as
// a decline or a put, the last five are empty.
func exportColumns() []string {
	return []string{
		"rrn", "business_date", "posted", "kind", "function", "reason", "terminal", "merchant", "stan", "card", "member", "original",
		"operator", "second", "note", "put",
		"programme", "account", "party", "amount", "balance",
	}
}

func (c csvRecords) write(d *Detail) error {
	function, put := "", ""
	if d.Function != 0 {
		function = d.Function.String()
	}
	if what, entry := d.put(); what != "" {
		put = what + " " + entry
	}
	record := []string{
		d.RRN, d.Date.String(), d.Posted, d.Kind.String(), function, d.Reason.String(), d.Terminal.String(), d.Merchant.String(), d.STAN, d.Card,
		strconv.FormatUint(uint64(d.Member), 10), d.Original,
		points.Escaped(d.Operator), points.Escaped(d.Second), points.Escaped(d.Note), put,
	}
	if len(d.Postings) == 0 {
		return c.lines.Write(append(record, "", "", "", "", ""))
	}
	for _, p := range d.Postings {
		err := c.lines.Write(append(slices.Clip(record),
			strconv.Itoa(int(p.Program)), p.Account.String(), strconv.FormatUint(p.Party, 10),
			strconv.FormatInt(int64(p.Amount), 10), strconv.FormatInt(int64(p.After), 10),
		))
		if err != nil {
			return err
		}
	}
	return nil
}

func (c csvRecords) end() error {
	c.lines.Flush()
	return c.lines.Error()
}

// put is the entry that a record put, as one line of JSON, and the word for what it is.
func (d *Detail) put() (what, entry string) {
	for word, text := range d.Put { // There is one at most.
		return word, string(points.EscapedJSON(text))
	}
	return "", ""
}

// hledgerRecords writes a journal for hledger and its like. A programme is a
// commodity, an account is programme:kind:party. Amounts are credit positive, as
// in the trial balance. Each account and commodity is declared where it first comes,
// for hledger check --strict: their names are what is kept in memory.
type hledgerRecords struct {
	w io.Writer
	// fromTheFirst: the export begins with the journal's first record, so that
	// the balance after each posting can be asserted.
	fromTheFirst bool
	accounts     map[string]bool
	commodities  map[points.ProgramID]bool
}

func (h hledgerRecords) begin(e Exporting) error {
	_, err := fmt.Fprintf(h.w, "; lianfen: business dates %v to %v\n; amounts are credit positive; the code of a transaction is its RRN\n", e.From, e.To)
	return err
}

// write writes a transaction. The status mark says that it is settled in the
// ledger; postings of different programmes balance each for itself. Who asked is in
// tags. What moved nothing is a comment where an operator did it.
//
//	account 900:member:1
//
//	2026-03-01 * (000000000029) adjust
//	    ; operator: li
//	    ; second: wang
//	    ; note: case 17
//	    900:member:1  -300 "P900" = 10200 "P900"
//	    900:issued:1001  300 "P900" = -10200 "P900"
//
//	; 2026-03-01 (000000000030) put
//	;   issuer: {"id":10000009,"name":"Hill Rail","status":"active"}
func (h hledgerRecords) write(d *Detail) error {
	if !d.Reason.Approved() {
		return nil
	}
	comments := h.comments(d, "    ; ")
	what := d.Kind.String()
	if d.Function != 0 {
		what = d.Function.String()
	}
	var text bytes.Buffer
	switch {
	case len(d.Postings) > 0:
		h.declare(&text, d)
		fmt.Fprintf(&text, "\n%v * (%s) %s\n%s", d.Date, d.RRN, what, comments)
	case comments != "":
		fmt.Fprintf(&text, "\n; %v (%s) %s\n%s", d.Date, d.RRN, what, h.comments(d, ";   "))
	}
	for _, p := range d.Postings {
		fmt.Fprintf(&text, "    %d:%v:%d  %d \"P%d\"", p.Program, p.Account, p.Party, p.Amount, p.Program)
		if h.fromTheFirst {
			fmt.Fprintf(&text, " = %d \"P%d\"", p.After, p.Program)
		}
		text.WriteByte('\n')
	}
	_, err := h.w.Write(text.Bytes())
	return err
}

// declare names the accounts and commodities of a record that have not come before.
func (h hledgerRecords) declare(text *bytes.Buffer, d *Detail) {
	for _, p := range d.Postings {
		if !h.commodities[p.Program] {
			h.commodities[p.Program] = true
			fmt.Fprintf(text, "\ncommodity 1000. \"P%d\"\n", p.Program)
		}
		if name := fmt.Sprintf("%d:%v:%d", p.Program, p.Account, p.Party); !h.accounts[name] {
			h.accounts[name] = true
			fmt.Fprintf(text, "\naccount %s\n", name)
		}
	}
}

// comments are the lines that tell who asked for a record, and what it put; each
// begins with indent.
func (hledgerRecords) comments(d *Detail, indent string) string {
	var text strings.Builder
	put, entry := d.put()
	for _, tag := range [...]struct{ name, value string }{{"operator", d.Operator}, {"second", d.Second}, {"note", d.Note}, {put, entry}} {
		if tag.value != "" {
			fmt.Fprintf(&text, "%s%s: %s\n", indent, tag.name, points.Escaped(tag.value))
		}
	}
	return text.String()
}

func (hledgerRecords) end() error { return nil }

// ExportOffline exports from the store in the folder data, which no process may
// be serving. cardKey is the path of the card key; empty: cards are left out.
func ExportOffline(ctx context.Context, data, cardKey string, e Exporting, w io.Writer) (records uint64, err error) {
	var key *certs.CardKey
	if cardKey != "" {
		if key, err = certs.ReadCardKey(cardKey); err != nil {
			return 0, err
		}
	}
	db, err := openUnserved(data)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if key != nil {
		if err := knows(db, key, cardKey); err != nil {
			return 0, err
		}
	}
	archive, err := ledger.OpenArchive(db)
	if err != nil {
		return 0, err
	}
	return export(ctx, archive, key, e, w)
}

// Trailers of an export: how many records it has once it is whole, else the fault.
const (
	exportedTrailer = "Lianfen-Exported"
	faultTrailer    = "Lianfen-Fault"
)

// export streams a range. That it is whole is told by the trailer.
func (a *App) export(w http.ResponseWriter, r *http.Request) {
	var e Exporting
	err := decodeBody(w, r, &e)
	if err == nil {
		err = e.check()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	a.stream(w, r, "text/plain; charset=utf-8", func(w io.Writer) (uint64, error) { //nolint:contextcheck // the request's own.
		return export(r.Context(), a.ledger, a.key, e, w)
	})
}

// stream answers with what write writes, and in its trailers how much that was, or why it
// broke off.
func (a *App) stream(w http.ResponseWriter, r *http.Request, kind string, write func(io.Writer) (uint64, error)) {
	w.Header().Set("Content-Type", kind)
	w.Header().Add("Trailer", exportedTrailer)
	w.Header().Add("Trailer", faultTrailer)
	records, err := write(patient{a, w})
	if err != nil {
		w.Header().Set(faultTrailer, strconv.Quote(whyEnded(r.Context(), err).Error()))
		return
	}
	w.Header().Set(exportedTrailer, strconv.FormatUint(records, 10))
}

// patient writes a stream whose whole may take longer than any answer may, each
// part of it not.
type patient struct {
	app *App
	w   http.ResponseWriter
}

// Write writes one part.
func (p patient) Write(part []byte) (int, error) {
	if err := http.NewResponseController(p.w).SetWriteDeadline(p.app.opts.Clock().Time().Add(requestTime)); err != nil {
		return 0, fmt.Errorf("answer: %w", err)
	}
	return p.w.Write(part)
}

// Export writes a range of the journal to w and returns how many records it has.
// After an error w has a part of it.
func (c *Client) Export(ctx context.Context, e Exporting, w io.Writer) (records uint64, err error) {
	return c.streamed(ctx, "export", e, w)
}

// streamed asks for what [App.stream] answers with.
func (c *Client) streamed(ctx context.Context, path string, ask any, w io.Writer) (records uint64, err error) {
	response, err := c.send(ctx, http.MethodPost, path, ask)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if _, err := io.Copy(w, response.Body); err != nil {
		return 0, fmt.Errorf("admin %s: %w", path, err)
	}
	if fault := response.Trailer.Get(faultTrailer); fault != "" {
		return 0, fmt.Errorf("admin %s: %s", path, fault)
	}
	records, err = strconv.ParseUint(response.Trailer.Get(exportedTrailer), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("admin %s: it broke off before its end: %w", path, err)
	}
	return records, nil
}
