package settlement

import (
	"context"
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Entry is something to be cleared: an item, and what its lines in the members' files
// say beside its worth.
type Entry struct {
	tariff.Item
	// Line has the columns that come from the message and the record: forwarder, STAN,
	// times, RRN, and so on. What follows from the item and its worth is filled in here.
	Line files.Line
	// Batch is the terminal's batch that it was counted in; zero: in none.
	Batch Batch
	// Why tells that it cannot be cleared, as a short code such as ORIGINAL_UNKNOWN, and
	// What says so in a sentence. Empty: it can.
	Why, What string
	// Declined tells that nothing was booked: it is listed, and nobody has to approve that it
	// is not cleared.
	Declined bool
}

// Batch names a batch of a terminal.
type Batch struct {
	Merchant points.MerchantID
	Terminal points.TerminalID
	Number   uint32
}

// Cut is a cycle of a business date: the journal's positions from First to Last.
type Cut struct {
	Date        points.BusinessDate `json:"business_date"`
	Cycle       uint8               `json:"cycle"`
	First       points.Position     `json:"first"`
	Last        points.Position     `json:"last"`
	Began       points.Timestamp    `json:"began"`
	Ended       points.Timestamp    `json:"ended"`
	Settles     points.BusinessDate `json:"settlement_date"`
	NeverClosed bool                `json:"open,omitempty"` // it still takes items
}

// Party is a member of the settlement.
type Party struct {
	Member tariff.Member
	Name   string
	Class  netting.Class
	Cover  netting.Cover
	Capped bool          // it has a cap; of 0: it must not owe
	Cap    points.Amount // most that it may owe, where it has one
}

// Program is a points programme as files name it.
type Program struct {
	Code  string // at most six characters
	Name  string
	Scale uint8
}

// Setting is all that a run's figures depend on beside the items.
type Setting struct {
	Rates    *tariff.Rates
	Fees     *tariff.Fees
	Parties  []Party // ascending by member
	Programs map[points.ProgramID]Program
	// Merchants are the names of merchants, as spreadsheets and statements have them.
	Merchants map[points.MerchantID]string
	// Fund and Limits are what stands in for a member that fails, beside its own cover. No
	// run depends on them.
	Fund   points.Amount
	Limits []Limit // by who has granted them, then to whom
}

// Kept is what the ledger has kept of a cycle while it went on.
type Kept struct {
	Members []Live
	Moves   []Move // by programme and acquirer
}

// Live is the position of a member.
type Live struct {
	Member tariff.Member
	Net    netting.Sum
}

// Publication is what becomes of a run in the journal: one command.
type Publication struct {
	Run      string
	Key      tariff.Digest // the same key is posted once
	Manifest tariff.Digest // SHA-256 of the run's list of files
	Cut      Cut
	Moves    []Move          // what has to leave the clearing accounts
	Proposal points.Position // that waits for the second person; 0: none does
	At       points.Timestamp
	Maker    string // who ran it
	Checker  string // who approved it; empty: nobody had to
}

// Standing is the posting of a cycle that stands in the journal; zero: none does.
type Standing struct {
	Posting  points.Position
	Key      tariff.Digest
	Manifest tariff.Digest
	Maker    string
	Checker  string // empty: the journal does not say
}

// of reports whether it is a run's.
func (s *Standing) of(run *Run) bool {
	return s.Posting != 0 && s.Key == mustDigest(run.KeyDigest) && s.Manifest == mustDigest(run.Manifest)
}

// Move is what the items of a run have moved between an issuer's programme and an
// acquirer: positive where the acquirer has to get it.
type Move struct {
	Program  points.ProgramID `json:"program"`
	Acquirer tariff.Member    `json:"acquirer"`
	Amount   points.Amount    `json:"amount"`
}

// Items is where the items of a cycle come from, in the order of their positions.
type Items interface {
	// Entries calls visit with what is to be cleared of the positions from first to last,
	// both included, in order. The entry is valid during the call. It may be called from
	// several goroutines for several ranges.
	Entries(ctx context.Context, first, last points.Position, visit func(*Entry) error) error
}

// Journal is what a run asks of the ledger.
type Journal interface {
	Items
	// Cut finds a cycle. The error has [points.UnknownOriginal] when there is none.
	Cut(date points.BusinessDate, cycle uint8) (Cut, error)
	// Unposted lists, in order, the closed cycles that began before a position, in which
	// something was cleared and of which nothing was posted. Of these it says dates, cycles
	// and positions only.
	Unposted(ctx context.Context, before points.Position) ([]Cut, error)
	// Setting reads tables and members as they are now.
	Setting(ctx context.Context) (Setting, error)
	// Kept returns what the ledger has kept of a cycle.
	Kept(ctx context.Context, cut Cut) (Kept, error)
	// Unfinished counts the requests of a cycle to issuers elsewhere that have no end yet.
	Unfinished(ctx context.Context, cut Cut) (uint64, error)
	// Unclosed counts those of some batches that their terminals have not closed by now.
	Unclosed(ctx context.Context, cut Cut, batches map[Batch]struct{}) (uint64, error)
	// Read reads the records of some positions and looks into none, and says how many bytes
	// they have: what is made of them is held against what that alone costs.
	Read(ctx context.Context, first, last points.Position) (bytes uint64, err error)
	// Standing tells which posting of a cycle stands in the journal.
	Standing(ctx context.Context, cut Cut) (Standing, error)
	// Withdraw ends, in somebody's name, what was proposed for a cycle and waits still. Once
	// it has returned, nobody can approve it any more.
	Withdraw(ctx context.Context, p Publication, by string) error
	// Propose proposes a publication where a second person has to approve it, and returns
	// the position of the proposal; 0: nobody has to.
	Propose(ctx context.Context, p Publication) (points.Position, error)
	// Approvable tells why somebody cannot approve a publication; nil: they can.
	Approvable(ctx context.Context, p Publication) error
	// Publish carries out the one command of a publication and returns its position. Where
	// the key was published before, it returns that position and does nothing.
	Publish(ctx context.Context, p Publication) (points.Position, error)
}

// appendEntry appends the bytes that the input digest is of: everything that the run's
// figures and files depend on. What an original amounts to is not among them: it follows
// from the original's position in the journal, which is.
func appendEntry(dst []byte, e *Entry) []byte {
	for _, field := range [...]uint64{
		uint64(e.Position), uint64(e.Kind), uint64(e.Of), uint64(e.Issuer), uint64(e.Acquirer), uint64(e.Target), uint64(e.Payer), uint64(e.Payee),
		uint64(e.Program), uint64(e.TargetProgram), uint64(e.MCC), uint64(e.Amount), uint64(e.At), uint64(e.OriginalAt), uint64(e.Refunded), //nolint:gosec // bytes, of either sign.
		uint64(e.Quoted.Value), uint64(e.Quoted.Spread), uint64(e.Quoted.Worth), uint64(e.Quoted.Granted), //nolint:gosec // as above.
		uint64(e.Buy), uint64(e.Sell),
	} {
		dst = binary.AppendUvarint(dst, field)
	}
	l := &e.Line
	for _, field := range [...]uint64{
		uint64(l.Forwarder), uint64(l.STAN), l.Transmitted, l.Local, uint64(l.MTI), uint64(l.Processing), uint64(l.EntryMode), uint64(l.Condition),
		uint64(l.OriginalDate), l.Original, uint64(l.Flags),
	} {
		dst = binary.AppendUvarint(dst, field)
	}
	dst = append(append(append(dst, l.RRN[:]...), l.Auth[:]...), l.Terminal[:]...)
	dst = append(append(append(dst, l.Merchant[:]...), l.Account[:]...), l.Response[:]...)
	for _, text := range [...]string{e.Why, e.What} {
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	if e.Promised != 0 { // Of none before quotes said it, whose digests stay what they were.
		dst = binary.AppendUvarint(dst, uint64(e.Promised)) //nolint:gosec // bytes.
	}
	if e.Held != 0 || e.Step != 0 || e.VAT != 0 { // Likewise, of none before there were these.
		for _, field := range [...]uint64{uint64(e.Held), uint64(e.Step), uint64(e.VAT)} { //nolint:gosec // bytes.
			dst = binary.AppendUvarint(dst, field)
		}
	}
	return dst
}
