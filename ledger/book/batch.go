package book

import (
	"encoding/binary"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// DateBatch as the batch of a command says that it counts in what its acquirer did on
// the business date: a partner's system closes dates, not batches. A terminal's batch
// has six digits.
const DateBatch = 1_000_000

// lastBatch is the last number of a terminal's batch; 1 comes after it.
const lastBatch = DateBatch - 1

// maxTallies is how many batches of one terminal, or dates of one acquirer, are counted
// at once. A terminal has one, or two while it closes; when more come the oldest is
// dropped, and its close will find the totals unequal.
const maxTallies = 8

// MaxUpload is how many items one command of an upload carries.
const MaxUpload = 8

// Tally is what was done in a batch, and what of it was reversed.
type Tally struct {
	Done, Undone points.Totals
}

// Stands is what of a tally was not reversed: what a terminal has in its own memory.
func (t Tally) Stands() points.Totals { return t.Done.Less(t.Undone) }

// agrees reports whether a sender's totals are ours. A terminal counts what stands; a
// partner's system counts reversals apart.
func (t Tally) agrees(batch uint32, claimed *Tally) bool {
	if batch == DateBatch {
		return t == *claimed
	}
	return t.Stands() == claimed.Stands()
}

// UploadItem is one transaction of an upload. Batch and STAN identify it.
type UploadItem struct {
	Kind   uint8
	STAN   points.STAN
	Card   points.CardToken
	Amount points.Amount
}

// batchesKey names a terminal, or an acquirer: then merchant and terminal are zero.
type batchesKey struct {
	acquirer points.AcquirerID
	merchant points.MerchantID
	terminal points.TerminalID
}

// batches is what is counted of a terminal's batches, or of an acquirer's dates.
//
//	           close                        end of the upload
//	open ──────────────> closed, equal ──────────────────────┐
//	  │        close                            upload       v
//	  └────────────────> closed, unequal ──────────────> complete
//
// A close may come again, under another trace number, until the next one; a batch that
// is not later than the closed one takes nothing more but what has happened already.
type batches struct {
	node
	key        batchesKey
	closed     uint32          // the last batch that was closed; 0: none
	closedBy   points.Position // its last close
	sent       uint32          // items that were sent up for it
	complete   bool            // and the end of them
	parameters uint32          // check value of the parameters that the terminal has; 0: none
	keys       TerminalKeys    // that it was given at its last sign-on
	derived    Derived         // how far it has come with its initial key
	open       []tally         // in the order in which they began, the closed one included
}

type tally struct {
	batch uint32 // or date
	Tally
}

func (s *batches) id() batchesKey { return s.key }

func (s *batches) appendKey(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, stateBatches), uint64(s.key.acquirer))
	return append(append(dst, s.key.merchant[:]...), s.key.terminal[:]...)
}

// Flags of what is counted of a terminal.
const (
	batchesComplete = 1 << iota
	batchesKeyed
	batchesDerived
	batchesMaster
)

func (s *batches) appendValue(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, stateVersion), uint64(s.closed))
	dst = binary.AppendUvarint(dst, uint64(s.closedBy))
	dst = binary.AppendUvarint(dst, uint64(s.sent))
	flags := byte(0)
	if s.complete {
		flags |= batchesComplete
	}
	if s.keys.Set != 0 {
		flags |= batchesKeyed
	}
	if s.derived.Counter != 0 {
		flags |= batchesDerived
	}
	if s.keys.Master != 0 {
		flags |= batchesMaster
	}
	dst = binary.AppendUvarint(append(dst, flags), uint64(s.parameters))
	if s.keys.Set != 0 {
		dst = binary.AppendUvarint(append(dst, s.keys.Set), uint64(s.keys.Generation))
	}
	if s.derived.Counter != 0 {
		dst = binary.AppendUvarint(append(dst, s.derived.Key[:]...), uint64(s.derived.Counter))
	}
	if s.keys.Master != 0 {
		dst = binary.AppendUvarint(dst, uint64(s.keys.Master))
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.open)))
	for i := range s.open {
		dst = binary.AppendUvarint(dst, uint64(s.open[i].batch))
		dst = appendTally(dst, &s.open[i].Tally)
	}
	return dst
}

func (s *batches) decodeValue(r *reader) {
	s.closed, s.closedBy, s.sent = r.uint32(), r.position(), r.uint32()
	flags := r.byte()
	s.complete = flags&batchesComplete != 0
	s.parameters = r.uint32()
	if flags&batchesKeyed != 0 {
		s.keys = TerminalKeys{Set: r.byte(), Generation: r.position()}
	}
	if flags&batchesDerived != 0 {
		r.fixed(s.derived.Key[:])
		s.derived.Counter = r.uint32()
	}
	if flags&batchesMaster != 0 {
		s.keys.Master = r.uint32()
	}
	for range r.count(maxTallies, 9) {
		t := tally{batch: r.uint32()}
		t.Tally = decodeTally(r)
		s.open = append(s.open, t)
	}
}

func appendTally(dst []byte, t *Tally) []byte {
	for _, totals := range [...]*points.Totals{&t.Done, &t.Undone} {
		dst = appendAmount(appendAmount(dst, totals.DebitAmount), totals.CreditAmount)
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(totals.DebitCount)), uint64(totals.CreditCount))
	}
	return dst
}

func decodeTally(r *reader) (t Tally) {
	for _, totals := range [...]*points.Totals{&t.Done, &t.Undone} {
		totals.DebitAmount, totals.CreditAmount = r.amount(), r.amount()
		totals.DebitCount, totals.CreditCount = r.uint32(), r.uint32()
	}
	return t
}

func appendItems(dst []byte, items []UploadItem) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(items)))
	for i := range items {
		item := &items[i]
		dst = binary.AppendUvarint(append(dst, item.Kind), uint64(item.STAN))
		dst = appendAmount(append(dst, item.Card[:]...), item.Amount)
	}
	return dst
}

func decodeItems(r *reader, dst []UploadItem) []UploadItem {
	for range r.count(MaxUpload, 2+len(points.CardToken{})+1) {
		item := UploadItem{Kind: r.byte(), STAN: points.STAN(r.uint32())}
		r.fixed(item.Card[:])
		item.Amount = r.amount()
		dst = append(dst, item)
	}
	return dst
}

// batchesOf names where cmd counts.
func batchesOf(cmd *Command) batchesKey {
	if cmd.Batch == DateBatch {
		return batchesKey{acquirer: cmd.Acquirer}
	}
	return batchesKey{cmd.Acquirer, cmd.Merchant, cmd.Terminal}
}

func (b *Book) findBatches(key batchesKey) (*batches, error) {
	if s, ok := b.batches.find(key); ok {
		return s, nil
	}
	s := &batches{key: key}
	if ok, err := b.load(s); !ok || err != nil {
		return nil, err
	}
	return b.batches.add(*s), nil
}

// changeBatches returns what is counted at key, about to change.
func (b *Book) changeBatches(key batchesKey) (*batches, error) {
	s, err := b.findBatches(key)
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = b.batches.add(batches{key: key})
		b.create(s)
		return s, nil
	}
	b.touch(s)
	return s, nil
}

// at finds the tally of a batch; nil when nothing is counted for it.
func (s *batches) at(batch uint32) *tally {
	if i := slices.IndexFunc(s.open, func(t tally) bool { return t.batch == batch }); i >= 0 {
		return &s.open[i]
	}
	return nil
}

// begin finds the tally of a batch, or begins it.
func (s *batches) begin(batch uint32) *tally {
	if t := s.at(batch); t != nil {
		return t
	}
	if len(s.open) == maxTallies {
		s.open = append(s.open[:0], s.open[1:]...)
	}
	s.open = append(s.open, tally{batch: batch})
	return &s.open[len(s.open)-1]
}

// over reports whether a terminal's batch takes nothing more: it is the closed one or
// one before it. Numbers go round, so half of all of them lie before it.
func (s *batches) over(batch uint32) bool {
	if s == nil || s.closed == 0 {
		return false
	}
	ahead := (batch + lastBatch - s.closed) % lastBatch
	return ahead == 0 || ahead > lastBatch/2
}

// inBatch checks that the batch of a request is not over. What its sender tells has
// happened, and a reversal undoes something: they are taken all the same.
func (b *Book) inBatch(cmd *Command) (points.Reason, error) {
	if cmd.Batch == 0 || cmd.Batch == DateBatch {
		return points.Approved, nil
	}
	if cmd.Batch > DateBatch || cmd.Terminal == (points.TerminalID{}) {
		return points.FormatError, nil
	}
	switch cmd.Kind {
	case KindReverse, KindCloseBatch, KindUpload:
		return points.Approved, nil
	default:
	}
	switch cmd.Function {
	case points.CompletionAdvice, points.OfflineRedeem, points.OfflineEarn:
		return points.Approved, nil
	default:
	}
	s, err := b.findBatches(batchesOf(cmd))
	if err == nil && s.over(cmd.Batch) {
		return points.BatchClosed, nil
	}
	return points.Approved, err
}

// otherBatch reports whether a void comes from another batch than its original.
func otherBatch(void *Command, original uint32) bool {
	return void.Batch != 0 && original != 0 && void.Batch != original
}

// counted adds an approved command to the totals of its batch. It is called behind the
// last possible refusal.
func (b *Book) counted(cmd *Command, out *Outcome) error {
	side := cmd.Function.Side()
	if cmd.Batch == 0 || side == 0 || cmd.Waits(out) || cmd.Kind == KindReverse {
		return nil
	}
	return b.tallyUp(batchesOf(cmd), cmd.Batch, side, out.Amount)
}

func (b *Book) tallyUp(key batchesKey, batch uint32, side points.Side, amount points.Amount) error {
	s, err := b.changeBatches(key)
	if err != nil {
		return err
	}
	s.begin(b.numberOfBatch(batch)).Done.Add(side, amount, 1) // What does not fit makes the close unequal.
	return nil
}

// numberOfBatch is what a tally is found by: the batch, or the date that runs.
func (b *Book) numberOfBatch(batch uint32) uint32 {
	if batch == DateBatch {
		return uint32(b.date)
	}
	return batch
}

// uncounted takes a reversed transaction off the totals of its batch: a part of it leaves
// a terminal's count as it was, since the rest stands. A terminal's batch of which
// nothing is counted any more is left alone.
func (b *Book) uncounted(key batchesKey, batch uint32, side points.Side, amount points.Amount, part bool) error {
	if batch == 0 || side == 0 {
		return nil
	}
	s, err := b.findBatches(key)
	if err != nil || (batch != DateBatch && (s == nil || s.at(batch) == nil)) {
		return err
	}
	if s, err = b.changeBatches(key); err != nil {
		return err
	}
	n := uint32(1)
	if part && batch != DateBatch {
		n = 0
	}
	s.begin(b.numberOfBatch(batch)).Undone.Add(side, amount, n)
	return nil
}

// closeBatch compares the totals of a batch, and closes it. That they differ is an
// answer, not a refusal: the batch is closed, and its transactions are to be sent up.
func (b *Book) closeBatch(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	key, number := batchesOf(cmd), cmd.Batch
	switch {
	case cmd.Batch == 0 || cmd.Batch > DateBatch:
		return points.FormatError, nil
	case cmd.Batch == DateBatch && cmd.Date != 0:
		number = uint32(cmd.Date)
	case cmd.Batch == DateBatch:
		number = uint32(b.date)
	}
	s, err := b.findBatches(key)
	if err != nil {
		return 0, err
	}
	if cmd.Batch != DateBatch && s.over(number) && s.closed != number {
		return points.BatchClosed, nil
	}
	if s, err = b.changeBatches(key); err != nil {
		return 0, err
	}
	if t := s.at(number); t != nil {
		out.Tally = t.Tally
	}
	out.Batch, out.Unequal = number, !out.Tally.agrees(cmd.Batch, &cmd.Tally)
	s.closed, s.closedBy = number, b.position+1
	s.sent, s.complete = 0, false
	return points.Approved, nil
}

// upload takes transactions of a closed batch, or the end of them with their number
// (Final, Limit). They are kept for the operators: they move nothing.
func (b *Book) upload(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if cmd.Batch == 0 || cmd.Batch >= DateBatch || (len(cmd.Items) == 0) != cmd.Final {
		return points.FormatError, nil
	}
	s, err := b.findBatches(batchesOf(cmd))
	switch {
	case err != nil:
		return 0, err
	case !s.over(cmd.Batch):
		return points.BatchOpen, nil
	case s.closed != cmd.Batch:
		return points.BatchClosed, nil
	case cmd.Final && cmd.Limit > s.sent: // More is well: a terminal that lost its memory began again.
		return points.UploadIncomplete, nil
	}
	out.Batch, out.Original = cmd.Batch, s.closedBy
	b.touch(s)
	if cmd.Final {
		s.complete = true
		return points.Approved, nil
	}
	s.sent += uint32(len(cmd.Items)) //nolint:gosec // at most MaxUpload.
	return points.Approved, nil
}

// download notes which parameters a terminal has been given.
func (b *Book) download(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if cmd.Terminal == (points.TerminalID{}) {
		return points.UnknownTerminal, nil
	}
	s, err := b.changeBatches(batchesOf(cmd))
	if err != nil {
		return 0, err
	}
	s.parameters, out.Parameters = cmd.Parameters, cmd.Parameters
	return points.Approved, nil
}

// nextBatch is the batch that a terminal's sign-on is told: the one behind the closed one,
// or the one that its registration says where that is later.
func (s *batches) nextBatch(registered uint32) uint32 {
	if s == nil || s.closed == 0 || (registered != 0 && !s.over(registered)) {
		return registered
	}
	return s.closed%lastBatch + 1
}

// BatchView is what is counted of one batch, or of one date of an acquirer.
type BatchView struct {
	Batch uint32
	Tally Tally
	Over  bool // it is closed, or an earlier one than that which is
}

// BatchesView is what is known of a terminal's batches, or of an acquirer's dates.
type BatchesView struct {
	Closed     uint32          // the last that was closed; 0: none
	ClosedBy   points.Position // its last close
	Sent       uint32          // items sent up for it
	Complete   bool            // and the end of them
	Parameters uint32          // check value of those that the terminal has; 0: none
	Batches    []BatchView     // in the order in which they began, the closed one included
}

// Batches returns what is known of a terminal's batches; with merchant and terminal zero,
// of the acquirer's dates. ok is false when nothing is.
func (b *Book) Batches(acquirer points.AcquirerID, merchant points.MerchantID, terminal points.TerminalID) (view BatchesView, ok bool, err error) {
	b.trim()
	s, err := b.findBatches(batchesKey{acquirer, merchant, terminal})
	if s == nil || err != nil {
		return BatchesView{}, false, err
	}
	view = BatchesView{Closed: s.closed, ClosedBy: s.closedBy, Sent: s.sent, Complete: s.complete, Parameters: s.parameters}
	for i := range s.open {
		view.Batches = append(view.Batches, BatchView{s.open[i].batch, s.open[i].Tally, s.over(s.open[i].batch)})
	}
	return view, true, nil
}

// Counted is what the transaction at position counts for in a batch: what was approved
// and is not reversed. ok is false when it counts for nothing.
func (b *Book) Counted(position points.Position) (amount points.Amount, ok bool, err error) {
	b.trim()
	if position == 0 || position > b.position {
		return 0, false, nil
	}
	rec, err := b.record(position)
	if err != nil || rec.Command.Batch == 0 || rec.Command.Function.Side() == 0 || !rec.Outcome.Reason.Approved() {
		return 0, false, err
	}
	if isRemote(rec) {
		r, err := b.needRemote(position)
		if err != nil {
			return 0, false, err
		}
		return r.approved - r.reduced, r.counted, nil
	}
	if rec, _, err = b.sold(rec); err != nil || !rec.Outcome.Reason.Approved() {
		return 0, false, err
	}
	amount = rec.Outcome.Amount
	t, err := b.findTransaction(position)
	if err != nil || (t != nil && t.reversed != 0) {
		return 0, false, err
	}
	return amount - t.reducedBy(), true, nil
}
