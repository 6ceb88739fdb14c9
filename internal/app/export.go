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
	"sort"
	"strconv"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// ExportFormat is how an export is written.
type ExportFormat string

// Formats of an export.
const (
	// ExportJSONL is one [Record] a line, declines too.
	ExportJSONL ExportFormat = "jsonl"
	// ExportCSV is one posting a line, under a line of names (see exportColumns).
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
	write(*Record) error
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
		r := recordFor(key, rec)
		return out.write(&r)
	})
	if err := errors.Join(err, out.end(), buffered.Flush()); err != nil {
		return records, fmt.Errorf("export: %w", err)
	}
	return records, nil
}

// positionsOf finds the range of positions of a range of business dates, which
// only grow along the journal. An empty range has from > to.
func positionsOf(j journal, e Exporting) (from, to points.Position, err error) {
	end := j.Durable()
	firstAfter := func(date points.BusinessDate) points.Position {
		n := sort.Search(int(end), func(i int) bool { //nolint:gosec // positions fit.
			if err != nil {
				return true
			}
			var rec book.Record
			rec, err = j.Record(points.Position(i) + 1) //nolint:gosec // 0 <= i < end.
			return rec.Outcome.Date > date
		})
		return points.Position(n) + 1 //nolint:gosec // 0 <= n <= end.
	}
	from, to = firstAfter(e.From-1), firstAfter(e.To)-1
	return from, to, err
}

func newRecordWriter(e Exporting, fromTheFirst bool, w io.Writer) (recordWriter, error) {
	switch e.Format {
	case ExportCSV:
		lines := csv.NewWriter(w)
		return csvRecords{lines}, lines.Write(exportColumns())
	case ExportHledger:
		h := hledgerRecords{w: w, fromTheFirst: fromTheFirst}
		return h, h.begin(e)
	default:
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return jsonRecords{encoder}, nil
	}
}

// jsonRecords writes one JSON object a line.
type jsonRecords struct {
	encoder *json.Encoder
}

func (j jsonRecords) write(r *Record) error { return j.encoder.Encode(r) }

func (jsonRecords) end() error { return nil }

// csvRecords writes one posting a line.
type csvRecords struct {
	lines *csv.Writer
}

// exportColumns are the columns of the CSV export. Those up to original are of
// the record and stand on the line of each of its postings; amount is the
// posting, credit positive, and balance the account's afterwards.
func exportColumns() []string {
	return []string{
		"rrn", "business_date", "posted", "kind", "function", "reason", "terminal", "merchant", "stan", "card", "member", "original",
		"programme", "account", "party", "amount", "balance",
	}
}

func (c csvRecords) write(r *Record) error {
	function := ""
	if r.Function != 0 {
		function = r.Function.String()
	}
	for _, p := range r.Postings {
		err := c.lines.Write([]string{
			r.RRN, r.Date.String(), r.Posted, r.Kind.String(), function, r.Reason.String(), r.Terminal.String(), r.Merchant.String(), r.STAN, r.Card,
			strconv.FormatUint(uint64(r.Member), 10), r.Original,
			strconv.Itoa(int(p.Program)), p.Account.String(), strconv.FormatUint(p.Party, 10),
			strconv.FormatInt(int64(p.Amount), 10), strconv.FormatInt(int64(p.After), 10),
		})
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

// hledgerRecords writes a journal for hledger and its like. A programme is a
// commodity, an account is programme:kind:party. Amounts are credit positive, as
// in the trial balance.
type hledgerRecords struct {
	w io.Writer
	// fromTheFirst: the export begins with the journal's first record, so that
	// the balance after each posting can be asserted.
	fromTheFirst bool
}

func (h hledgerRecords) begin(e Exporting) error {
	_, err := fmt.Fprintf(h.w, "; lianfen: business dates %v to %v\n; amounts are credit positive; the code of a transaction is its RRN\n", e.From, e.To)
	return err
}

// write writes a transaction. The status mark says that it is settled in the
// ledger; postings of different programmes balance each for itself.
//
//	2026-03-01 * (000000000029) redeem
//	    900:member:1  -300 "P900" = 10200 "P900"
//	    900:clearing:2001  300 "P900" = -10200 "P900"
func (h hledgerRecords) write(r *Record) error {
	if len(r.Postings) == 0 || !r.Reason.Approved() {
		return nil
	}
	what := r.Kind.String()
	if r.Function != 0 {
		what = r.Function.String()
	}
	if _, err := fmt.Fprintf(h.w, "\n%v * (%s) %s\n", r.Date, r.RRN, what); err != nil {
		return err
	}
	for _, p := range r.Postings {
		if _, err := fmt.Fprintf(h.w, "    %d:%v:%d  %d \"P%d\"", p.Program, p.Account, p.Party, p.Amount, p.Program); err != nil {
			return err
		}
		if h.fromTheFirst {
			if _, err := fmt.Fprintf(h.w, " = %d \"P%d\"", p.After, p.Program); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(h.w, "\n"); err != nil {
			return err
		}
	}
	return nil
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
		known, ok, err := db.Get(nil, store.KeyCheck, nil)
		if err != nil {
			return 0, err
		}
		if value := key.CheckValue(); ok && !bytes.Equal(known, value[:]) {
			return 0, fmt.Errorf("%w (%s)", ErrOtherKey, cardKey)
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
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Add("Trailer", exportedTrailer)
	w.Header().Add("Trailer", faultTrailer)
	records, err := export(r.Context(), a.ledger, a.key, e, patient{a, w})
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
	response, err := c.send(ctx, http.MethodPost, "export", e)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if _, err := io.Copy(w, response.Body); err != nil {
		return 0, fmt.Errorf("admin export: %w", err)
	}
	if fault := response.Trailer.Get(faultTrailer); fault != "" {
		return 0, fmt.Errorf("admin export: %s", fault)
	}
	records, err = strconv.ParseUint(response.Trailer.Get(exportedTrailer), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("admin export: it broke off before its end: %w", err)
	}
	return records, nil
}
