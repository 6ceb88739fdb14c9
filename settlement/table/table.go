// Package table writes the items of a settlement run as one table, in Parquet, for whoever
// analyses them: a row an item, with what each of its members sees of it.
//
// It owns the columns and the format. It promises that a file is whole or without its end,
// which every reader refuses, and that its heap is bounded however many rows there are. What
// is in the rows is package settlement's business.
package table

import (
	"fmt"
	"io"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/lianfen/lianfen/points"
)

// Side is what a member sees of an item, in smallest units of the standard point: credits
// positive, debits negative, as in its detail file.
type Side struct {
	Std         int64 `parquet:"std"`
	Interchange int64 `parquet:"ichg"`
	SwitchFee   int64 `parquet:"swfee"`
	VAT         int64 `parquet:"vat"`
	Other       int64 `parquet:"other"`
	Net         int64 `parquet:"net"`
}

// Swap is what a swap gives: the target's programme and how it was valued.
type Swap struct {
	Program     string `parquet:"asset,dict"`
	Scale       uint32 `parquet:"ascale"`
	Granted     int64  `parquet:"amt"`
	RateVersion uint32 `parquet:"ratev"`
	Num         uint64 `parquet:"num"`
	Den         uint64 `parquet:"den"`
}

// Row is an item. Columns have the names of the detail file where they say the same. Numbers
// of institutions have eight digits; 0 is none. In a column that may be null, null is none.
type Row struct {
	ID           uint64 `parquet:"cid,delta"`  // clearing id
	BusinessDate int32  `parquet:"bdate,date"` // of the run
	Cycle        uint32 `parquet:"cycle"`      //
	Decided      int64  `parquet:"decided,timestamp(microsecond:utc)"`
	Kind         string `parquet:"kind,dict"`         // RDM EAR SWP RFD RVS CBK REP ADJ FEE
	Of           string `parquet:"of,dict,optional"`  // kind of the original, where one is undone
	Acquirer     uint32 `parquet:"acq"`               // of ADJ and FEE the payee
	Forwarder    uint32 `parquet:"fwd"`               //
	Issuer       uint32 `parquet:"iss"`               // of ADJ and FEE the payer
	Target       uint32 `parquet:"tgt"`               // issuer of what a swap gives
	STAN         uint32 `parquet:"stan"`              //
	Transmitted  uint64 `parquet:"txdt"`              // yyyymmddhhmmss, as the detail file has it
	Local        uint64 `parquet:"locdt"`             // likewise
	RRN          string `parquet:"rrn"`               //
	Auth         string `parquet:"auth"`              //
	MTI          uint32 `parquet:"mti"`               //
	Processing   uint32 `parquet:"proc"`              //
	EntryMode    uint32 `parquet:"mode"`              //
	Condition    uint32 `parquet:"cond"`              //
	Category     uint32 `parquet:"mcc"`               //
	Terminal     string `parquet:"term,dict"`         //
	Merchant     string `parquet:"mer,dict"`          //
	Account      string `parquet:"acct"`              // token or masked number
	Program      string `parquet:"asset,dict"`        //
	Scale        uint32 `parquet:"ascale"`            // decimals of amt
	Amount       int64  `parquet:"amt"`               // of the item; below zero it undoes
	RateVersion  uint32 `parquet:"ratev"`             //
	Num          uint64 `parquet:"num"`               //
	Den          uint64 `parquet:"den"`               //
	StdScale     uint32 `parquet:"stdscale"`          // decimals of value, of the sides, shares and house
	Value        int64  `parquet:"value"`             // of amt in standard points
	AcquirerSide *Side  `parquet:"acq_side,optional"` // in its file of role A
	IssuerSide   *Side  `parquet:"iss_side,optional"` // in its file of role I
	TargetSide   *Side  `parquet:"tgt_side,optional"` // in its file of role T
	Shares       int64  `parquet:"shares"`            // net of all files of role S
	House        int64  `parquet:"house"`             // of FEE, VAT, ROUND and SUSPENSE; with all sides and shares zero
	Swap         *Swap  `parquet:"swap,optional"`     //
	OriginalDate int32  `parquet:"obdate,date,optional"`
	Original     uint64 `parquet:"ocid,optional"`
	Response     string `parquet:"rc,dict"`
	Flags        string `parquet:"flags,dict"` // L late, S stand-in, M manual, R re-presented
}

// About is what a file says of itself, in its metadata.
type About struct {
	Run      string
	Manifest string // SHA-256 of the run's list of files, in hexadecimal
	Program  string // version of the program
}

// Bounds of a writer.
const (
	// GroupRows is how many rows are held and then written together: what a reader takes at a time.
	GroupRows = 1 << 16
	// batchRows is how many are handed over at a time.
	batchRows = 256
)

// Writer writes rows. It is used by one goroutine.
type Writer struct {
	out    *parquet.GenericWriter[Row]
	rows   []Row
	sides  [3 * batchRows]Side
	swaps  [batchRows]Swap
	sided  int
	number uint64
}

// NewWriter begins a file.
func NewWriter(w io.Writer, about About) *Writer {
	return &Writer{rows: make([]Row, 0, batchRows), out: parquet.NewGenericWriter[Row](w,
		parquet.MaxRowsPerRowGroup(GroupRows), parquet.Compression(&parquet.Zstd), parquet.CreatedBy("lianfen", about.Program, ""),
		parquet.KeyValueMetadata("lianfen.run", about.Run), parquet.KeyValueMetadata("lianfen.manifest", about.Manifest))}
}

// Next is the row to be filled in and then written by Done; it is empty.
func (w *Writer) Next() *Row {
	w.rows = w.rows[:len(w.rows)+1]
	row := &w.rows[len(w.rows)-1]
	*row = Row{}
	return row
}

// Side is an empty side, for the row to be filled in; a row has three at the most.
func (w *Writer) Side() *Side {
	side := &w.sides[w.sided]
	w.sided++
	*side = Side{}
	return side
}

// Swap is an empty swap, for the row to be filled in.
func (w *Writer) Swap() *Swap {
	swap := &w.swaps[len(w.rows)-1]
	*swap = Swap{}
	return swap
}

// Done writes the row that was filled in.
func (w *Writer) Done() error {
	w.number++
	if len(w.rows) < batchRows {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	_, err := w.out.Write(w.rows)
	w.rows, w.sided = w.rows[:0], 0
	if err != nil {
		return fmt.Errorf("table: %w", err)
	}
	return nil
}

// Rows is how many rows there are.
func (w *Writer) Rows() uint64 { return w.number }

// Close writes what is left, and the end without which no reader takes the file.
func (w *Writer) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.out.Close(); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	return nil
}

// Date is a business date as a table has it: days since 1970-01-01; 0 for none.
func Date(d points.BusinessDate) int32 {
	if d == 0 {
		return 0
	}
	day := time.Date(int(d/10_000), time.Month(d/100%100), int(d%100), 0, 0, 0, 0, time.UTC)
	return int32(day.Unix() / (24 * 60 * 60)) //nolint:gosec // a day of our time.
}
