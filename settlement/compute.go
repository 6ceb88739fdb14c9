package settlement

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// ChunkPositions is how many positions of the journal are under one digest, and are
// worked on by one goroutine at a time.
const ChunkPositions = 65_536

// roles are the files of items that a member has.
const roles = int(files.RoleShare)

// computed is what the first pass over a cycle comes to.
type computed struct {
	fold       *netting.Fold
	roll       *netting.Roll
	input      tariff.Digest // Merkle root over the digests of the chunks
	items      uint64        // cleared
	lines      []memberLines // by place in the roll
	apart      apart
	exceptions exceptionList
	unvalued   uint64 // of the exceptions: a rate or fee is missing
	missing    map[points.ProgramID]uint64
	flows      map[flow]netting.Sum
	batches    map[Batch]struct{}
	payments   *files.Payments // for the positions; nil: nothing is paid by this switch's files
	unpaid     []exception     // payments that are left out of these
}

// maxBatches is how many batches of terminals are looked at.
const maxBatches = 100_000

// flow is a clearing account: what an acquirer and a programme's issuer have moved.
type flow struct {
	program  points.ProgramID
	acquirer tariff.Member
}

// memberLines is what a member's files of items have to hold.
type memberLines struct {
	count [roles]uint64
	net   netting.Sum
}

// apart counts the items that are in no acquirer's or in no issuer's file.
type apart struct{ acquirer, issuer uint64 }

func (a *apart) add(b apart) { a.acquirer, a.issuer = a.acquirer+b.acquirer, a.issuer+b.issuer }

// partial is what one worker has come to.
type partial struct {
	fold    *netting.Fold
	lines   []memberLines
	apart   apart
	missing map[points.ProgramID]uint64
	flows   map[flow]netting.Sum
	batches map[Batch]struct{}
	items   uint64
	worth   tariff.Valuation
	placed  [maxPlaces]place
	bytes   []byte
	hash    hash.Hash
}

// chunkResult is what a chunk has to hand over in order.
type chunkResult struct {
	digest     tariff.Digest
	entries    uint64
	exceptions exceptionList
	unvalued   uint64
}

// basis is what items are valued by and folded into.
type basis struct {
	setting *Setting
	roll    *netting.Roll
	models  *netting.Models
	except  tariff.Member // the member whose items are left out; 0: nobody's are
}

func newBasis(setting *Setting, models *netting.Models) (basis, error) {
	parties := make([]netting.Party, len(setting.Parties))
	for i, p := range setting.Parties {
		parties[i] = netting.Party{Member: p.Member, Class: p.Class}
	}
	roll, err := netting.NewRoll(parties)
	if err != nil {
		return basis{}, fmt.Errorf("members: %w", err)
	}
	return basis{setting: setting, roll: roll, models: models}, nil
}

// compute is the first pass: every item of the cut is valued and folded, on workers that
// share nothing, whose folds are added up at the end.
func (b *basis) compute(ctx context.Context, source Items, cut Cut, workers int, progress *progress) (*computed, error) {
	parts := make([]*partial, workers)
	for i := range parts {
		fold, err := b.newFold()
		if err != nil {
			return nil, fmt.Errorf("positions: %w", err)
		}
		parts[i] = &partial{fold: fold, lines: make([]memberLines, b.roll.Len()), missing: map[points.ProgramID]uint64{}, flows: map[flow]netting.Sum{}, batches: map[Batch]struct{}{}, hash: sha256.New()}
	}
	all := &computed{roll: b.roll, fold: parts[0].fold, lines: parts[0].lines, missing: parts[0].missing, flows: parts[0].flows, batches: parts[0].batches}
	var digests []tariff.Digest
	var entries uint64
	var full atomic.Bool // Spans that are begun from then on come behind all exceptions that are listed.
	progress.begin(StepCompute, uint64(cut.Last-cut.First)+1)
	err := inOrder(ctx, spans(cut.First, cut.Last, ChunkPositions), workers,
		func(ctx context.Context, worker int, s span) (chunkResult, error) {
			return b.chunk(ctx, source, parts[worker], s, full.Load(), progress)
		},
		func(r chunkResult) error {
			digests, entries = append(digests, r.digest), entries+r.entries
			all.exceptions.take(&r.exceptions)
			full.Store(all.exceptions.full())
			all.unvalued += r.unvalued
			return nil
		})
	if err != nil {
		return nil, err
	}
	all.input = netting.Root(digests, entries)
	for i, part := range parts {
		all.items += part.items
		all.apart.add(part.apart)
		if i == 0 {
			continue
		}
		if err := all.fold.Merge(part.fold); err != nil {
			return nil, fmt.Errorf("positions: %w", err)
		}
		for place, lines := range part.lines {
			all.lines[place].add(lines)
		}
		for program, n := range part.missing {
			all.missing[program] += n
		}
		maps.Copy(all.batches, part.batches)
		for at, sum := range part.flows {
			all.flows[at] = all.flows[at].Plus(sum)
		}
	}
	return all, nil
}

func (m *memberLines) add(other memberLines) {
	for i, n := range other.count {
		m.count[i] += n
	}
	m.net = m.net.Plus(other.net)
}

// chunk values and folds the items of a span. Once the list of exceptions is full, those of
// later spans are only counted.
func (b *basis) chunk(ctx context.Context, source Items, p *partial, s span, full bool, progress *progress) (r chunkResult, err error) {
	p.hash.Reset()
	err = source.Entries(ctx, s.first, s.last, func(e *Entry) error {
		r.entries++
		p.digest(e)
		if b.leavesOut(e) {
			p.fold.LeaveOut()
			return nil
		}
		if reason, what := b.value(e, &p.worth, p.fold); reason != "" {
			if full && !e.Declined {
				r.exceptions.count(e, reason)
			} else {
				r.exceptions.listed = append(r.exceptions.listed, exceptionOf(e, reason, what))
			}
			if missesTerms(reason) {
				r.unvalued++
				p.missing[e.Program]++
			}
			return nil
		}
		p.items++
		if e.Batch.Number != 0 && len(p.batches) < maxBatches {
			p.batches[e.Batch] = struct{}{}
		}
		if moved := e.moved(); moved != 0 {
			at := flow{e.Program, e.Acquirer}
			p.flows[at] = p.flows[at].Plus(netting.SumOf(moved))
		}
		places, _ := b.places(e, &p.worth, p.placed[:0])
		p.apart.count(e, places)
		for i := range places {
			at := &p.lines[places[i].index]
			at.count[places[i].role-1]++
			at.net = at.net.Plus(netting.SumOf(p.worth.View(b.roll.Member(places[i].index)).Net))
		}
		return nil
	})
	r.digest = p.sum()
	progress.add(uint64(s.last-s.first) + 1)
	return r, err //nolint:wrapcheck // the journal's own words.
}

// digest takes an entry into the digest of its chunk, behind its length in four bytes, of
// which the first is always 0: what is divided otherwise has another digest, and none is
// that of a node of the tree. Some are taken together, since a hash takes long over few bytes.
func (p *partial) digest(e *Entry) {
	const together = 1 << 14
	at := len(p.bytes)
	p.bytes = appendEntry(append(p.bytes, 0, 0, 0, 0), e)
	binary.BigEndian.PutUint32(p.bytes[at:], uint32(len(p.bytes)-at-4)) //nolint:gosec // a few hundred bytes.
	if len(p.bytes) >= together {
		_, _ = p.hash.Write(p.bytes) // A hash never fails.
		p.bytes = p.bytes[:0]
	}
}

// sum is the digest of the entries since the hash was reset.
func (p *partial) sum() (digest tariff.Digest) {
	_, _ = p.hash.Write(p.bytes) // A hash never fails.
	p.bytes = p.bytes[:0]
	p.hash.Sum(digest[:0])
	return digest
}

// moved is what an entry has moved on the clearing account of its programme and acquirer.
func (e *Entry) moved() points.Amount {
	switch e.original() {
	case tariff.KindRDM:
		return e.Amount
	case tariff.KindEAR:
		return -e.Amount
	default:
		return 0
	}
}

// moves is what a posting has to move, by programme and acquirer.
func (c *computed) moves() (moves []Move, err error) {
	for at, sum := range c.flows {
		amount, ok := sum.Amount()
		if !ok {
			return nil, points.Errorf(points.BalanceOverflow, "programme %d at %v: %s points were cleared, more than can be posted", at.program, at.acquirer, sum)
		}
		if amount != 0 {
			moves = append(moves, Move{at.program, at.acquirer, amount})
		}
	}
	slices.SortFunc(moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(a.Program, b.Program), cmp.Compare(a.Acquirer, b.Acquirer))
	})
	return moves, nil
}

// value values an entry and folds its legs, where there is a fold; or says why it cannot
// be cleared.
func (b *basis) value(e *Entry, v *tariff.Valuation, fold *netting.Fold) (reason, what string) {
	if e.Why != "" {
		return e.Why, e.What
	}
	fault := tariff.Value(b.setting.Rates, b.setting.Fees, &e.Item, v)
	if fault == tariff.OK && fold != nil {
		fault = fold.Add(&e.Item, v)
	}
	if fault == tariff.OK {
		return "", ""
	}
	return faultCode(fault), fault.String()
}

// place is a line that an item has in a member's file.
type place struct {
	index int // in the roll
	role  files.Role
}

// maxPlaces is how many files an item is in at the most: of its three parties, and of
// everybody who has a share of its fee, or of that of a dispute's step.
const maxPlaces = 3 + 2*tariff.MaxShares

// places lists the files that an item is in. An item of
// an acquirer's own points is in its acquirer's file only. A swap is between issuer and
// target. Who has a share of the fee and no other part in the item, as whoever brought a
// swap, has it among the items of role S, with nothing but the share. All members of the
// legs are on the roll where known, as a fold asks.
func (b *basis) places(e *Entry, v *tariff.Valuation, dst []place) (places []place, known bool) {
	acquirer, issuer, target := e.Acquirer, e.Issuer, e.Target
	if e.Kind.Explicit() {
		acquirer, issuer, target = e.Payee, e.Payer, 0
	}
	add := func(m tariff.Member, role files.Role) bool {
		for i := range dst {
			if b.roll.Member(dst[i].index) == m {
				return true
			}
		}
		if !m.Institution() {
			return m.Account() // They are on every roll.
		}
		index, ok := b.roll.Index(m)
		if ok {
			dst = append(dst, place{index, role})
		}
		return ok
	}
	if e.original() != tariff.KindSWP {
		add(acquirer, files.RoleAcquirer)
	}
	add(issuer, files.RoleIssuer)
	add(target, files.RoleSwapTarget)
	known = true
	for _, leg := range v.Legs() {
		creditor, debtor := add(leg.Creditor, files.RoleShare), add(leg.Debtor, files.RoleShare)
		known = known && creditor && debtor
	}
	return dst, known
}

// count counts an item that is in no acquirer's file, or in no issuer's.
func (a *apart) count(_ *Entry, places []place) {
	a.acquirer++
	a.issuer++
	for i := range places {
		switch places[i].role {
		case files.RoleAcquirer:
			a.acquirer--
		case files.RoleIssuer:
			a.issuer--
		default:
		}
	}
}
