package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// RateTerms are the terms of a rate as people give them: what one point is worth in
// standard points (Value, a decimal), or what one smallest unit is worth in smallest units
// (Ratio, 3/7).
type RateTerms struct {
	Program   points.ProgramID `json:"program" yaml:"program"`
	Side      string           `json:"side,omitempty" yaml:"side"` // CLEAR when left out
	From      string           `json:"from" yaml:"from"`           // RFC 3339, or 2026-03-02 08:00 in the switch's zone
	Value     string           `json:"value,omitempty" yaml:"value"`
	Ratio     string           `json:"ratio,omitempty" yaml:"ratio"`
	SpreadPPM uint32           `json:"spread_ppm,omitempty" yaml:"spread_ppm"`
	// Into makes a BUY rate one for swaps into this programme only, beside the one for all;
	// the ratio 0/0 ends it.
	Into points.ProgramID `json:"into,omitempty" yaml:"into"`
}

// RateSetting proposes rates, or, where no operators are enrolled, puts them.
type RateSetting struct {
	Rates    []RateTerms `json:"rates"`
	Operator string      `json:"operator"`
	Second   string      `json:"second,omitempty"`
	Note     string      `json:"note"`
}

// maxTariff bounds rates and fees as they are sent.
const maxTariff = 8 << 20

// ReadRates reads a file of rates: a YAML list of terms, every key known.
func ReadRates(r io.Reader) (rates []RateTerms, err error) {
	return rates, readStrict(r, "rates", &rates)
}

// ReadFees reads a file of fees: a YAML mapping with from and rows, every key known.
func ReadFees(r io.Reader) (fees FeeTerms, err error) { return fees, readStrict(r, "fees", &fees) }

func readStrict(r io.Reader, what string, into any) error {
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	if err := decoder.Decode(into); errors.Is(err, io.EOF) {
		return points.Errorf(points.FormatError, "%s: the file is empty", what)
	} else if err != nil {
		return points.Errorf(points.FormatError, "%s: %w", what, config.PlainYAML(err))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return points.Errorf(points.FormatError, "%s: one document is read, and there is more behind it", what)
	}
	return nil
}

// moment reads a time that a person gives.
func (a *App) moment(text string) (points.Timestamp, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return points.TimestampOf(at), nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, text, a.zone); err == nil {
			return points.TimestampOf(at), nil
		}
	}
	return 0, points.Errorf(points.FormatError, "from %q: want 2026-03-02 08:00 in %s, or RFC 3339", text, a.zone)
}

// ratio reads what one smallest unit of a programme is worth in smallest units of the
// standard point.
func (t *RateTerms) ratio(scale uint8) (num, den uint64, err error) {
	if (t.Value == "") == (t.Ratio == "") {
		return 0, 0, points.Errorf(points.FormatError, "rate of %d: want a value or a ratio, one of both", t.Program)
	}
	if t.Ratio != "" {
		over, under, ok := strings.Cut(t.Ratio, "/")
		num, first := strconv.ParseUint(over, 10, 63)
		den, second := strconv.ParseUint(under, 10, 63)
		if !ok || first != nil || second != nil {
			return 0, 0, points.Errorf(points.FormatError, "ratio %q: want two whole numbers, such as 3/7", t.Ratio)
		}
		return num, den, nil
	}
	whole, fraction, _ := strings.Cut(t.Value, ".")
	digits, err := strconv.ParseUint(whole+fraction, 10, 63)
	if err != nil || whole == "" || len(fraction) > 8 || digits > math.MaxUint64/10_000 {
		return 0, 0, points.Errorf(points.FormatError, "value %q: want what a point is worth, a decimal such as 0.0125, with at most 8 digits behind the point", t.Value)
	}
	num, den = digits*10_000, 1 // The standard point has four decimals.
	for range len(fraction) + int(scale) {
		den *= 10
	}
	for num%10 == 0 && den%10 == 0 && num > 0 {
		num, den = num/10, den/10
	}
	return num, den, nil
}

// terms are those of a command.
func (a *App) terms(t *RateTerms, programs map[points.ProgramID]*book.Program) (*tariff.Rate, error) {
	program := programs[t.Program]
	if program == nil {
		return nil, points.Errorf(points.UnknownProgram, "rate of %d: there is no such programme; put it first", t.Program)
	}
	var side tariff.Side
	if err := side.UnmarshalText([]byte(strings.ToUpper(cmp.Or(t.Side, tariff.Clear.String())))); err != nil {
		return nil, err
	}
	num, den, err := t.ratio(program.Scale)
	if err != nil {
		return nil, err
	}
	from, err := a.moment(t.From)
	if err != nil {
		return nil, err
	}
	return &tariff.Rate{Terms: tariff.Terms{Program: t.Program, Side: side, From: from, Num: num, Den: den, SpreadPPM: t.SpreadPPM, Into: t.Into}}, nil
}

// proposeRates proposes each of the terms, or none; see [App.enter].
func (a *App) proposeRates(ctx context.Context, s RateSetting) ([]Done, error) {
	if err := signed(ctx, "rates", &s.Operator, s.Second); err != nil {
		return nil, err
	}
	if len(s.Rates) == 0 || s.Note == "" {
		return nil, points.Errorf(points.FormatError, "rates: say which, and why (--note)")
	}
	var registry *book.Registry
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	}); err != nil {
		return nil, err
	}
	rates := make([]*tariff.Rate, len(s.Rates))
	for i := range s.Rates {
		var err error
		if rates[i], err = a.terms(&s.Rates[i], registry.Programs); err != nil {
			return nil, fmt.Errorf("rate %d: %w", i+1, err)
		}
	}
	cmds := make([]book.Command, len(rates))
	for i, rate := range rates {
		cmds[i] = book.Command{Kind: book.KindPut, Entry: book.Entry{Rate: rate}, Operator: s.Operator, Second: s.Second, Note: s.Note}
	}
	return a.enter(ctx, "rate", cmds)
}

// enter enters, or proposes, a list of versions. What could not be entered behind those before
// it is told first, and then nothing is; what the switch refuses on the way all the same, such
// as for too many proposals, is told with what stands in the journal already.
func (a *App) enter(ctx context.Context, what string, cmds []book.Command) ([]Done, error) {
	for i := range cmds {
		cmds[i].At = a.opts.Clock()
	}
	at := 0
	var why error
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		at, why = b.WhyVersions(cmds)
		return nil
	}); err != nil {
		return nil, err
	}
	if why != nil {
		return nil, points.Errorf(points.ReasonOf(why), "%s %d of %d: %s; nothing was entered", what, at+1, len(cmds), a.inZone(why.Error()))
	}
	done := []Done{}
	for i := range cmds {
		one, err := a.do(ctx, fmt.Sprintf("%s %d of %d", what, i+1, len(cmds)), &cmds[i])
		if err != nil {
			return nil, entered(done, err)
		}
		done = append(done, one)
	}
	return done, nil
}

// entered adds to what ended a list what of it is in the journal: each entry is one of its
// own, and to give the whole list again would make further versions of the first ones.
func entered(done []Done, err error) error {
	if len(done) == 0 {
		return err
	}
	rrns := make([]string, len(done))
	for i := range done {
		rrns[i] = done[i].RRN
	}
	return fmt.Errorf("%w; the %d before it are entered already (RRN %s): leave them out when you give the rest", err, len(done), strings.Join(rrns, ", "))
}

// RateVersion is a version of a rate, for people and machines.
type RateVersion struct {
	Program  points.ProgramID `json:"program"`
	Side     tariff.Side      `json:"side"`
	Version  uint32           `json:"version"`
	From     string           `json:"from"`
	Num      uint64           `json:"num"`
	Den      uint64           `json:"den"`
	Spread   uint32           `json:"spread_ppm,omitempty"`
	Maker    string           `json:"maker"`
	Checker  string           `json:"checker"`
	Approved string           `json:"approved"`
	Digest   string           `json:"digest"`
	InForce  bool             `json:"in_force"`       // now
	Into     points.ProgramID `json:"into,omitempty"` // of a pair: the programme handed out
}

// rates lists all versions, by programme, side and version.
func (a *App) rates(ctx context.Context, _ nothing) ([]RateVersion, error) {
	list := []RateVersion{}
	now := a.opts.Clock()
	table, _, err := a.tariff(ctx)
	if err != nil || table == nil {
		return list, err
	}
	for r := range table.All() {
		list = append(list, RateVersion{
			r.Program, r.Side, r.Version, r.From.String(), r.Num, r.Den, r.SpreadPPM, r.Maker, r.Checker, r.Approved.String(),
			r.Digest.String(), table.InForce(r, now), r.Into,
		})
	}
	return list, nil
}

// tariff is every version of rates and fees; nil: there is none.
func (a *App) tariff(ctx context.Context) (rates *tariff.Rates, fees *tariff.Fees, err error) {
	err = a.ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		rates, fees = registry.Rates, registry.Fees
		return nil
	})
	return rates, fees, err
}

// FeeTerms are a schedule of fees as people give it.
type FeeTerms struct {
	From string   `json:"from" yaml:"from"`
	Rows []FeeRow `json:"rows" yaml:"rows"`
}

// FeeRow is a row of it; see [tariff.FeeRow]. Issuer, acquirer, MCC and programme are any
// where they are left out. Amounts are in smallest units of the standard point.
type FeeRow struct {
	Kind           string           `json:"kind" yaml:"kind"`
	Issuer         uint32           `json:"issuer,omitempty" yaml:"issuer"`
	Acquirer       uint32           `json:"acquirer,omitempty" yaml:"acquirer"`
	MCC            uint16           `json:"mcc,omitempty" yaml:"mcc"`
	Program        points.ProgramID `json:"program,omitempty" yaml:"program"`
	InterchangePPM uint32           `json:"interchange_ppm,omitempty" yaml:"interchange_ppm"`
	PPM            uint32           `json:"ppm,omitempty" yaml:"ppm"`
	Fixed          points.Amount    `json:"fixed,omitempty" yaml:"fixed"`
	Min            points.Amount    `json:"min,omitempty" yaml:"min"`
	Max            points.Amount    `json:"max,omitempty" yaml:"max"`
	VATPPM         uint32           `json:"vat_ppm,omitempty" yaml:"vat_ppm"`
	Shares         []FeeShare       `json:"shares,omitempty" yaml:"shares"`
	Payer          string           `json:"payer,omitempty" yaml:"payer"`               // of a dispute's step: issuer or acquirer
	LockAtHold     bool             `json:"lock_at_hold,omitempty" yaml:"lock_at_hold"` // captures have the rate and fees of their hold
}

// FeeShare is a part of a fee: of a role (operator, issuer, acquirer, target) or a member.
type FeeShare struct {
	Role   string `json:"role,omitempty" yaml:"role"`
	Member uint32 `json:"member,omitempty" yaml:"member"`
	Weight uint32 `json:"weight" yaml:"weight"`
}

// FeeSetting proposes a schedule.
type FeeSetting struct {
	FeeTerms
	Operator string `json:"operator"`
	Second   string `json:"second,omitempty"`
	Note     string `json:"note"`
}

func (r *FeeRow) row() (row tariff.FeeRow, err error) {
	row = tariff.FeeRow{
		Issuer: tariff.Member(r.Issuer), Acquirer: tariff.Member(r.Acquirer), MCC: r.MCC, Program: r.Program, InterchangePPM: r.InterchangePPM,
		PPM: r.PPM, Fixed: r.Fixed, Min: r.Min, Max: r.Max, VATPPM: r.VATPPM, LockAtHold: r.LockAtHold,
	}
	if r.Payer != "" {
		if err = row.Payer.UnmarshalText([]byte(r.Payer)); err != nil {
			return row, err
		}
	}
	if err = row.Kind.UnmarshalText([]byte(r.Kind)); err != nil {
		return row, err
	}
	for _, share := range r.Shares {
		s := tariff.Share{Member: tariff.Member(share.Member), Weight: share.Weight}
		if share.Role != "" {
			if err = s.Role.UnmarshalText([]byte(share.Role)); err != nil {
				return row, err
			}
		}
		row.Shares = append(row.Shares, s)
	}
	return row, nil
}

func (a *App) proposeFees(ctx context.Context, s FeeSetting) (Done, error) {
	if err := signed(ctx, "fees", &s.Operator, s.Second); err != nil {
		return Done{}, err
	}
	if s.Note == "" {
		return Done{}, points.Errorf(points.FormatError, "fees: say why (--note)")
	}
	from, err := a.moment(s.From)
	if err != nil {
		return Done{}, err
	}
	fees := &tariff.Schedule{From: from}
	for i := range s.Rows {
		row, err := s.Rows[i].row()
		if err == nil {
			err = a.sharedByMembers(ctx, &row)
		}
		if err != nil {
			return Done{}, fmt.Errorf("fees: row %d: %w", i+1, err)
		}
		fees.Rows = append(fees.Rows, row)
	}
	return a.do(ctx, "fees", &book.Command{Kind: book.KindPut, At: a.opts.Clock(), Entry: book.Entry{Fees: fees}, Operator: s.Operator, Second: s.Second, Note: s.Note})
}

// sharedByMembers refuses a share of nobody: an item that pays it could not be settled. The
// book has no such rule: a journal of before it would be read otherwise.
func (a *App) sharedByMembers(ctx context.Context, row *tariff.FeeRow) error {
	return a.ledger.View(ctx, func(b *book.Book) error {
		for _, share := range row.Shares {
			if share.Member != 0 {
				if err := b.Registry().WhyNoMember(share.Member); err != nil {
					return fmt.Errorf("share of %v: %w", share.Member, err)
				}
			}
		}
		return nil
	})
}

// FeeVersion is a version of the fees.
type FeeVersion struct {
	Version  uint32          `json:"version"`
	From     string          `json:"from"`
	Rows     []tariff.FeeRow `json:"rows"`
	Maker    string          `json:"maker"`
	Checker  string          `json:"checker"`
	Approved string          `json:"approved"`
	Digest   string          `json:"digest"`
	InForce  bool            `json:"in_force"` // now
}

func (a *App) fees(ctx context.Context, _ nothing) ([]FeeVersion, error) {
	list := []FeeVersion{}
	_, fees, err := a.tariff(ctx)
	if err != nil || fees == nil {
		return list, err
	}
	now := a.opts.Clock()
	for s := range fees.All() {
		list = append(list, FeeVersion{s.Version, s.From.String(), s.Rows, s.Maker, s.Checker, s.Approved.String(), s.Digest.String(), fees.At(now) == s})
	}
	return list, nil
}

// CapSetting sets a member's cap.
type CapSetting struct {
	book.Cap
	HoldsFree bool   `json:"holds_free,omitempty"` // holds reserve nothing; else Cap.Holds, whatever it says
	Operator  string `json:"operator"`
	Second    string `json:"second,omitempty"`
	Note      string `json:"note"`
}

func (a *App) setCap(ctx context.Context, s CapSetting) (Done, error) {
	if err := signed(ctx, "cap", &s.Operator, s.Second); err != nil {
		return Done{}, err
	}
	if s.Operator == "" || s.Note == "" {
		return Done{}, points.Errorf(points.FormatError, "cap: say who sets it, and why")
	}
	s.Holds = !s.HoldsFree && !s.Unlimited
	// The book has no such rule: a journal of before it would be read otherwise.
	if err := a.ledger.View(ctx, func(b *book.Book) error { return b.Registry().WhyNoMember(s.Member) }); err != nil {
		return Done{}, fmt.Errorf("cap: %w", err)
	}
	return a.do(ctx, "cap of "+s.Member.String(), &book.Command{Kind: book.KindPut, At: a.opts.Clock(), Entry: book.Entry{Cap: &s.Cap}, Operator: s.Operator, Second: s.Second, Note: s.Note})
}

// CapState is a cap and what counts for it.
type CapState struct {
	book.Cap
	Cover    points.Amount `json:"cover"`
	Owes     points.Amount `json:"owes"` // below zero: it is owed
	Reserved points.Amount `json:"reserved"`
	Headroom points.Amount `json:"headroom"`
}

func (a *App) caps(ctx context.Context, _ nothing) ([]CapState, error) {
	list := []CapState{}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		for _, e := range b.Exposures() {
			list = append(list, CapState{e.Cap, e.Cover(), e.Owes, e.Reserved, e.Headroom})
		}
		return nil
	})
	return list, err
}

// ClearedAsked names a cycle; without a date the one that runs.
type ClearedAsked struct {
	Date  points.BusinessDate `json:"date,omitempty"`
	Cycle uint8               `json:"cycle,omitempty"` // 1 when left out
}

// Cleared is what members owe each other in a cycle as it stands.
type Cleared struct {
	Date     points.BusinessDate `json:"business_date"`
	Cycle    uint8               `json:"cycle"`
	Closed   bool                `json:"closed"`
	Posted   string              `json:"posted,omitempty"` // RRN of the posting
	Items    uint64              `json:"items"`
	Unvalued uint64              `json:"unvalued"` // items without a value: there was no rate or fee
	// Run is the settlement run of the cycle, where there is one, and what it has not cleared: also
	// what was decided before there was any rate, which nothing here counts.
	Run        string `json:"run,omitempty"`
	Exceptions uint64 `json:"run_exceptions,omitempty"`

	Positions []ClearedPosition `json:"positions"`
}

// ClearedPosition is one member's, in smallest units of the standard point.
type ClearedPosition struct {
	Member  tariff.Member `json:"member"`
	Pay     points.Amount `json:"pay"`
	Receive points.Amount `json:"receive"`
	Net     points.Amount `json:"net"`
}

func (a *App) cleared(ctx context.Context, asked ClearedAsked) (Cleared, error) {
	var view book.CycleView
	var over bool // the cycle, in which nothing may have been cleared
	err := a.ledger.View(ctx, func(b *book.Book) (err error) {
		if asked.Date == 0 {
			asked.Date, asked.Cycle = b.Date(), b.Cycle()
		}
		asked.Cycle = max(asked.Cycle, 1)
		by := cmp.Or(cmp.Compare(asked.Date, b.Date()), cmp.Compare(asked.Cycle, b.Cycle()))
		if over = by < 0; by > 0 {
			return points.Errorf(points.UnknownOriginal, "cycle %d of %v has not begun: cycle %d of %v runs", asked.Cycle, asked.Date, b.Cycle(), b.Date())
		}
		view, _, err = b.ClearedIn(asked.Date, asked.Cycle)
		return err
	})
	c := Cleared{Date: asked.Date, Cycle: asked.Cycle, Closed: over || view.Closed, Items: view.Items, Unvalued: view.Unvalued, Positions: []ClearedPosition{}}
	if view.Posted != 0 {
		c.Posted = rrnOf(view.Posted)
	}
	for _, p := range view.Positions {
		c.Positions = append(c.Positions, ClearedPosition{p.Member, p.Debit, p.Credit, p.Net()})
	}
	slices.SortFunc(c.Positions, func(x, y ClearedPosition) int { return cmp.Compare(x.Member, y.Member) })
	if err != nil || !c.Closed {
		return c, err
	}
	run, err := a.settlement.Of(asked.Date, asked.Cycle)
	if run != nil {
		c.Run, c.Exceptions = run.ID, run.Exceptions
	}
	return c, err
}
