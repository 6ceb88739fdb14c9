package book

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/lianfen/lianfen/points"
)

// A record is self-delimiting:
//
//	length   uvarint, of what follows
//	version  1 byte
//	command  mask (uvarint: which fields are not zero), then those fields in order
//	outcome  likewise
//
// New fields take new mask bits at the end, so that old records stay readable.
const recordVersion = 1

// Bounds of what a record may hold. They stand far above what the book writes.
const (
	maxRecord   = 1 << 24
	maxText     = 1024
	maxName     = 256
	maxGroup    = 64
	maxPostings = 1 << 16
	maxMoves    = 1 << 17
	maxOthers   = 1 << 10
	maxAccepted = 1 << 10 // programmes accepted at one merchant
)

var errRecord = errors.New("book: journal record is malformed")

// Bits of a command's mask.
const (
	hasFunction = 1 << iota
	hasKey
	hasAt
	hasCard
	hasMember
	hasProgram
	hasAmount
	hasAcquirer
	hasMerchant
	hasTerminal
	hasOriginal
	hasOriginalKey
	hasAuthCode
	hasFinal
	hasPartialOK
	hasToCard
	hasToMember
	hasOrigin
	hasActiveOn
	hasExpiresOn
	hasFreeze
	hasDate
	hasTraceDays
	hasLimit
	hasOperator
	hasSecond
	hasNote
	hasEntry
	hasGroup
	hasAgainst
	hasReverses
	hasActual
	hasAnswer
	hasTold
	hasTender
	hasBatch
	hasTally
	hasItems
	hasParameters
	hasAsk
	hasTraceTime
	hasAct
	hasEntryMode
	hasPIN
	hasEdition
	hasKeySet
	hasPINResult
	hasPINValue
	hasCycle
	hasPlanned
	hasSent
	hasRun
	hasManifest
	hasMoves
	hasCounter
	hasCeremony
	hasDispute
	hasLeg
	hasInto
	hasWanted
	hasCertificate
	hasMaster

	commandMask = hasMaster<<1 - 1

	// hasPost is set in the mask of a posting of a settlement.
	hasPost = hasRun | hasManifest | hasMoves
)

// AppendRecord appends the journal record of cmd and out to dst. Out.Replayed is
// not written: what stands in the journal is a first time.
func AppendRecord(dst []byte, cmd *Command, out *Outcome) []byte {
	start := len(dst)
	dst = append(dst, recordVersion)
	dst = appendCommand(dst, cmd)
	dst = appendOutcome(dst, out, cmd.At)
	size := len(dst) - start
	var prefix [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(prefix[:], uint64(size)) //nolint:gosec // a length.
	dst = append(dst, prefix[:n]...)
	copy(dst[start+n:], dst[start:start+size])
	copy(dst[start:], prefix[:n])
	return dst
}

// DecodeRecord reads the record at the start of src into rec, whose slices are
// used again, and returns its length in bytes. Any bytes may be given: what
// [AppendRecord] did not write is refused with an error, never a panic.
func DecodeRecord(src []byte, rec *Record) (n int, err error) {
	size, prefix := binary.Uvarint(src)
	if prefix <= 0 || size > maxRecord || size > uint64(len(src)-prefix) { //nolint:gosec // prefix <= len(src).
		return 0, fmt.Errorf("%w: length %d of %d bytes", errRecord, size, len(src))
	}
	n = prefix + int(size)
	r := reader{src: src[prefix:n]}
	if version := r.byte(); version != recordVersion {
		return 0, fmt.Errorf("%w: version %d", errRecord, version)
	}
	decodeCommand(&r, &rec.Command, true)
	decodeOutcome(&r, &rec.Outcome, rec.Command.At)
	if !r.ok() {
		return 0, fmt.Errorf("%w: %d bytes of kind %d", errRecord, size, rec.Command.Kind)
	}
	return n, nil
}

// mask says which fields of a command are worth writing.
func (c *Command) mask() uint64 {
	var m uint64
	set := func(bit uint64, present bool) {
		if present {
			m |= bit
		}
	}
	set(hasFunction, c.Function != 0)
	set(hasKey, c.Key != points.TraceKey{})
	set(hasAt, c.At != 0)
	set(hasCard, !c.Card.IsZero())
	set(hasMember, c.Member != 0)
	set(hasProgram, c.Program != 0)
	set(hasAmount, c.Amount != 0)
	set(hasAcquirer, c.Acquirer != 0)
	set(hasMerchant, c.Merchant != points.MerchantID{})
	set(hasTerminal, c.Terminal != points.TerminalID{})
	set(hasOriginal, c.Original != 0)
	set(hasOriginalKey, c.OriginalKey != points.TraceKey{})
	set(hasAuthCode, c.AuthCode != [6]byte{})
	set(hasFinal, c.Final)
	set(hasPartialOK, c.PartialOK)
	set(hasToCard, !c.ToCard.IsZero())
	set(hasToMember, c.ToMember != 0)
	set(hasOrigin, c.Origin != 0)
	set(hasActiveOn, c.ActiveOn != 0)
	set(hasExpiresOn, c.ExpiresOn != 0)
	set(hasFreeze, c.Freeze != 0)
	set(hasDate, c.Date != 0)
	set(hasTraceDays, c.TraceDays != 0)
	set(hasLimit, c.Limit != 0)
	set(hasOperator, c.Operator != "")
	set(hasSecond, c.Second != "")
	set(hasNote, c.Note != "")
	set(hasEntry, c.Entry != Entry{})
	set(hasGroup, len(c.Group) > 0)
	set(hasAgainst, c.Against != 0)
	set(hasReverses, c.Reverses != 0)
	set(hasActual, c.Actual != 0)
	set(hasAnswer, c.Answer != 0)
	set(hasTold, len(c.Told) > 0)
	set(hasTender, len(c.Tender) > 0)
	set(hasBatch, c.Batch != 0)
	set(hasTally, c.Tally != Tally{})
	set(hasItems, len(c.Items) > 0)
	set(hasParameters, c.Parameters != 0)
	set(hasAsk, c.Ask)
	set(hasTraceTime, c.TraceTime != 0)
	set(hasAct, c.Act != 0)
	set(hasEntryMode, c.EntryMode != 0)
	set(hasPIN, c.PIN)
	set(hasEdition, c.Edition != 0)
	set(hasKeySet, c.KeySet != 0)
	set(hasPINResult, c.PINResult != 0)
	set(hasPINValue, !c.PINValue.IsZero())
	set(hasCycle, c.Cycle != 0)
	set(hasPlanned, c.Planned != 0)
	set(hasSent, c.Sent != 0)
	set(hasRun, c.Run != [32]byte{})
	set(hasManifest, c.Manifest != [32]byte{})
	set(hasMoves, len(c.Moves) > 0)
	set(hasCounter, c.Counter != 0)
	set(hasCeremony, c.Ceremony != Ceremony{})
	set(hasDispute, c.Dispute != DisputeMove{})
	set(hasLeg, c.Leg != Leg{})
	set(hasInto, c.Into != 0)
	set(hasWanted, c.Wanted != 0)
	set(hasCertificate, c.Certificate != nil)
	set(hasMaster, c.Master != 0)
	return m
}

func appendKey(dst []byte, k *points.TraceKey) []byte {
	dst = binary.AppendUvarint(dst, uint64(k.Acquirer))
	dst = append(dst, k.Source[:]...)
	dst = binary.AppendUvarint(dst, k.When)
	dst = binary.AppendUvarint(dst, uint64(k.STAN))
	return append(dst, byte(k.Class), byte(k.Door))
}

func decodeKey(r *reader, k *points.TraceKey) {
	k.Acquirer = points.AcquirerID(r.uvarint())
	r.fixed(k.Source[:])
	k.When = r.uvarint()
	k.STAN = points.STAN(r.uint32())
	k.Class = points.Class(r.byte())
	k.Door = points.Door(r.byte())
}

func appendCommand(dst []byte, c *Command) []byte {
	m := c.mask()
	dst = append(dst, byte(c.Kind))
	dst = binary.AppendUvarint(dst, m)
	if m&hasFunction != 0 {
		dst = append(dst, byte(c.Function))
	}
	if m&hasKey != 0 {
		dst = appendKey(dst, &c.Key)
	}
	if m&hasAt != 0 {
		dst = binary.AppendVarint(dst, int64(c.At))
	}
	if m&hasCard != 0 {
		dst = append(dst, c.Card[:]...)
	}
	if m&hasMember != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Member))
	}
	if m&hasProgram != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Program))
	}
	if m&hasAmount != 0 {
		dst = appendAmount(dst, c.Amount)
	}
	if m&hasAcquirer != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Acquirer))
	}
	if m&hasMerchant != 0 {
		dst = append(dst, c.Merchant[:]...)
	}
	if m&hasTerminal != 0 {
		dst = append(dst, c.Terminal[:]...)
	}
	if m&hasOriginal != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Original))
	}
	if m&hasOriginalKey != 0 {
		dst = appendKey(dst, &c.OriginalKey)
	}
	if m&hasAuthCode != 0 {
		dst = append(dst, c.AuthCode[:]...)
	}
	if m >= hasToCard {
		dst = appendRareFields(dst, c, m)
	}
	return dst
}

// appendRareFields writes what an ordinary authorisation does not have.
func appendRareFields(dst []byte, c *Command, m uint64) []byte {
	if m&hasToCard != 0 {
		dst = append(dst, c.ToCard[:]...)
	}
	if m&hasToMember != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.ToMember))
	}
	if m&hasOrigin != 0 {
		dst = append(dst, byte(c.Origin))
	}
	if m&hasActiveOn != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.ActiveOn))
	}
	if m&hasExpiresOn != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.ExpiresOn))
	}
	if m&hasFreeze != 0 {
		dst = append(dst, byte(c.Freeze))
	}
	if m&hasDate != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Date))
	}
	if m&hasTraceDays != 0 {
		dst = append(dst, c.TraceDays)
	}
	if m&hasLimit != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Limit))
	}
	if m&hasOperator != 0 {
		dst = appendText(dst, c.Operator)
	}
	if m&hasSecond != 0 {
		dst = appendText(dst, c.Second)
	}
	if m&hasNote != 0 {
		dst = appendText(dst, c.Note)
	}
	if m&hasEntry != 0 {
		dst = appendEntry(dst, &c.Entry)
	}
	if m&hasGroup != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(c.Group)))
		for i := range c.Group {
			dst = appendCommand(dst, &c.Group[i])
		}
	}
	if m&hasAgainst != 0 {
		dst = append(dst, byte(c.Against))
	}
	if m&hasReverses != 0 {
		dst = append(dst, byte(c.Reverses))
	}
	if m&hasActual != 0 {
		dst = appendAmount(dst, c.Actual)
	}
	if m&hasAnswer != 0 {
		dst = append(dst, byte(c.Answer))
	}
	if m&hasTold != 0 {
		dst = appendBalances(dst, c.Told)
	}
	if m&hasTender != 0 {
		dst = appendTender(dst, c.Tender)
	}
	if m >= hasBatch {
		dst = appendBatchFields(dst, c, m)
	}
	return dst
}

// appendBatchFields writes what is about a terminal's batch, and what came later.
func appendBatchFields(dst []byte, c *Command, m uint64) []byte {
	if m&hasBatch != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Batch))
	}
	if m&hasTally != 0 {
		dst = appendTally(dst, &c.Tally)
	}
	if m&hasItems != 0 {
		dst = appendItems(dst, c.Items)
	}
	if m&hasParameters != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Parameters))
	}
	if m&hasTraceTime != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.TraceTime))
	}
	if m&hasAct != 0 {
		dst = append(dst, byte(c.Act))
	}
	if m&hasEntryMode != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.EntryMode))
	}
	if m&hasEdition != 0 {
		dst = append(dst, c.Edition)
	}
	if m&hasKeySet != 0 {
		dst = append(dst, c.KeySet)
	}
	if m&hasPINResult != 0 {
		dst = append(dst, byte(c.PINResult))
	}
	if m&hasPINValue != 0 {
		dst = append(dst, c.PINValue[:]...)
	}
	if m&hasCycle != 0 {
		dst = append(dst, c.Cycle)
	}
	if m&hasPlanned != 0 {
		dst = binary.AppendVarint(dst, int64(c.Planned))
	}
	if m&hasSent != 0 {
		dst = binary.AppendVarint(dst, int64(c.Sent))
	}
	if m&hasPost != 0 {
		dst = appendPost(dst, c, m)
	}
	if m&(hasInto|hasWanted) != 0 {
		dst = appendSwapAsked(dst, c, m)
	}
	if m&hasCounter != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Counter))
	}
	if m&hasCeremony != 0 {
		dst = appendCeremony(dst, &c.Ceremony)
	}
	if m&hasDispute != 0 {
		dst = c.Dispute.append(dst)
	}
	if m&hasLeg != 0 {
		dst = c.Leg.append(dst)
	}
	if m&hasCertificate != 0 {
		dst = appendCertificate(dst, c.Certificate)
	}
	if m&hasMaster != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Master))
	}
	return dst
}

// decodeCommand reads a command; groups says whether it may be a group.
func decodeCommand(r *reader, c *Command, groups bool) {
	*c = Command{Group: c.Group[:0], Told: c.Told[:0], Tender: c.Tender[:0], Items: c.Items[:0], Moves: c.Moves[:0]}
	c.Kind = Kind(r.byte())
	m := r.uvarint()
	if m > commandMask || (m&hasGroup != 0 && !groups) {
		r.fail()
		return
	}
	if m&hasFunction != 0 {
		c.Function = points.Function(r.byte())
	}
	if m&hasKey != 0 {
		decodeKey(r, &c.Key)
	}
	if m&hasAt != 0 {
		c.At = r.timestamp()
	}
	if m&hasCard != 0 {
		r.fixed(c.Card[:])
	}
	if m&hasMember != 0 {
		c.Member = points.MemberID(r.uvarint())
	}
	if m&hasProgram != 0 {
		c.Program = r.program()
	}
	if m&hasAmount != 0 {
		c.Amount = r.amount()
	}
	if m&hasAcquirer != 0 {
		c.Acquirer = points.AcquirerID(r.uvarint())
	}
	if m&hasMerchant != 0 {
		r.fixed(c.Merchant[:])
	}
	if m&hasTerminal != 0 {
		r.fixed(c.Terminal[:])
	}
	if m&hasOriginal != 0 {
		c.Original = points.Position(r.uvarint())
	}
	if m&hasOriginalKey != 0 {
		decodeKey(r, &c.OriginalKey)
	}
	if m&hasAuthCode != 0 {
		r.fixed(c.AuthCode[:])
	}
	c.Final = m&hasFinal != 0
	c.PartialOK = m&hasPartialOK != 0
	c.Ask = m&hasAsk != 0
	c.PIN = m&hasPIN != 0
	if m >= hasToCard {
		decodeRareFields(r, c, m)
	}
}

func decodeRareFields(r *reader, c *Command, m uint64) {
	if m&hasToCard != 0 {
		r.fixed(c.ToCard[:])
	}
	if m&hasToMember != 0 {
		c.ToMember = points.MemberID(r.uvarint())
	}
	if m&hasOrigin != 0 {
		c.Origin = Origin(r.byte())
	}
	if m&hasActiveOn != 0 {
		c.ActiveOn = r.date()
	}
	if m&hasExpiresOn != 0 {
		c.ExpiresOn = r.date()
	}
	if m&hasFreeze != 0 {
		c.Freeze = Freeze(r.byte())
	}
	if m&hasDate != 0 {
		c.Date = r.date()
	}
	if m&hasTraceDays != 0 {
		c.TraceDays = r.byte()
	}
	if m&hasLimit != 0 {
		c.Limit = r.uint32()
	}
	if m&hasOperator != 0 {
		c.Operator = r.text(maxText)
	}
	if m&hasSecond != 0 {
		c.Second = r.text(maxText)
	}
	if m&hasNote != 0 {
		c.Note = r.text(maxText)
	}
	if m&hasEntry != 0 {
		decodeEntry(r, &c.Entry)
	}
	if m&hasGroup != 0 {
		for range r.count(maxGroup, 2) {
			c.Group = append(c.Group, Command{})
			decodeCommand(r, &c.Group[len(c.Group)-1], false)
		}
	}
	if m&hasAgainst != 0 {
		c.Against = AccountKind(r.byte())
	}
	if m&hasReverses != 0 {
		c.Reverses = points.Function(r.byte())
	}
	if m&hasActual != 0 {
		c.Actual = r.amount()
	}
	if m&hasAnswer != 0 {
		c.Answer = points.Reason(r.byte())
	}
	if m&hasTold != 0 {
		c.Told = decodeBalances(r, c.Told, points.MaxBalances)
	}
	if m&hasTender != 0 {
		c.Tender = decodeTender(r, c.Tender)
	}
	if m >= hasBatch {
		decodeBatchFields(r, c, m)
	}
}

func decodeBatchFields(r *reader, c *Command, m uint64) {
	if m&hasBatch != 0 {
		c.Batch = r.uint32()
	}
	if m&hasTally != 0 {
		c.Tally = decodeTally(r)
	}
	if m&hasItems != 0 {
		c.Items = decodeItems(r, c.Items)
	}
	if m&hasParameters != 0 {
		c.Parameters = r.uint32()
	}
	if m&hasTraceTime != 0 {
		c.TraceTime = r.uint32()
	}
	if m&hasAct != 0 {
		c.Act = Act(r.byte())
	}
	if m&hasEntryMode != 0 {
		c.EntryMode = r.uint16()
	}
	if m&hasEdition != 0 {
		c.Edition = r.byte()
	}
	if m&hasKeySet != 0 {
		c.KeySet = r.byte()
	}
	if m&hasPINResult != 0 {
		c.PINResult = PINResult(r.byte())
	}
	if m&hasPINValue != 0 {
		r.fixed(c.PINValue[:])
	}
	if m&hasCycle != 0 {
		c.Cycle = r.byte()
	}
	if m&hasPlanned != 0 {
		c.Planned = r.timestamp()
	}
	if m&hasSent != 0 {
		c.Sent = r.timestamp()
	}
	if m&hasPost != 0 {
		decodePost(r, c, m)
	}
	if m&(hasInto|hasWanted) != 0 {
		decodeSwapAsked(r, c, m)
	}
	if m&hasCounter != 0 {
		c.Counter = r.uint32()
	}
	if m&hasCeremony != 0 {
		c.Ceremony = decodeCeremony(r)
	}
	if m&hasDispute != 0 {
		c.Dispute = decodeDisputeMove(r)
	}
	if m&hasLeg != 0 {
		c.Leg = decodeLeg(r)
	}
	if m&hasCertificate != 0 {
		c.Certificate = decodeCertificate(r)
	}
	if m&hasMaster != 0 {
		c.Master = r.uint32()
	}
}

// Bits of an outcome's mask. Position, reason and date are always there.
const (
	outMember = 1 << iota
	outProgram
	outIssuer
	outOriginal
	outAmount
	outFree
	outPending
	outHeld
	outDebt
	outBatch
	outMore
	outPostings
	outLots
	outOthers
	outAnswer
	outLegs
	outTally
	outUnequal
	outParameters
	outRisk
	outCycle
	outMCC
	outRoot
	outUndone
	outOwners
	outSwap
	outNoRoom
	outLocked
	outFee

	outcomeMask = outFee<<1 - 1
)

func (o *Outcome) mask() uint64 {
	var m uint64
	set := func(bit uint64, present bool) {
		if present {
			m |= bit
		}
	}
	set(outMember, o.Member != 0)
	set(outProgram, o.Program != 0)
	set(outIssuer, o.Issuer != 0)
	set(outOriginal, o.Original != 0)
	set(outAmount, o.Amount != 0)
	set(outFree, o.Free != 0)
	set(outPending, o.Pending != 0)
	set(outHeld, o.Held != 0)
	set(outDebt, o.Debt != 0)
	set(outBatch, o.Batch != 0)
	set(outMore, o.More)
	set(outPostings, len(o.Postings) > 0)
	set(outLots, len(o.Lots) > 0)
	set(outOthers, len(o.Others) > 0)
	set(outAnswer, o.Answer != 0)
	set(outLegs, len(o.Legs) > 0)
	set(outTally, o.Tally != Tally{})
	set(outUnequal, o.Unequal)
	set(outParameters, o.Parameters != 0)
	set(outRisk, o.Risk != Decision{})
	set(outCycle, o.Cycle != 0)
	set(outMCC, o.MCC != 0)
	set(outRoot, o.Root != 0)
	set(outUndone, len(o.Undone) > 0)
	set(outOwners, len(o.Owners) > 0)
	set(outSwap, o.Swap != SwapFigures{})
	set(outNoRoom, o.NoRoom != 0)
	set(outLocked, o.Locked != 0)
	set(outFee, o.Fee != StepFee{})
	return m
}

// appendOutcome writes o; the posting time as its distance from at.
func appendOutcome(dst []byte, o *Outcome, at points.Timestamp) []byte {
	m := o.mask()
	dst = binary.AppendUvarint(dst, uint64(o.Position))
	dst = append(dst, byte(o.Reason))
	dst = binary.AppendVarint(dst, int64(o.Posted-at))
	dst = binary.AppendUvarint(dst, uint64(o.Date))
	dst = binary.AppendUvarint(dst, m)
	if m&outMember != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Member))
	}
	if m&outProgram != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Program))
	}
	if m&outIssuer != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Issuer))
	}
	if m&outOriginal != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Original))
	}
	for _, field := range [...]struct {
		bit    uint64
		amount points.Amount
	}{{outAmount, o.Amount}, {outFree, o.Free}, {outPending, o.Pending}, {outHeld, o.Held}, {outDebt, o.Debt}} {
		if m&field.bit != 0 {
			dst = appendAmount(dst, field.amount)
		}
	}
	if m&outBatch != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Batch))
	}
	if m&outPostings != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(o.Postings)))
		for i := range o.Postings {
			p := &o.Postings[i]
			dst = appendAccountKey(dst, p.Account, o)
			dst = appendAmount(dst, p.Amount)
			dst = appendAmount(dst, p.After)
		}
	}
	if m&outLots != 0 {
		dst = appendMoves(dst, o)
	}
	if m&outOthers != 0 {
		dst = appendBalances(dst, o.Others)
	}
	if m&outAnswer != 0 {
		dst = append(dst, byte(o.Answer))
	}
	if m&outLegs != 0 {
		dst = appendPaid(dst, o)
	}
	if m&outTally != 0 {
		dst = appendTally(dst, &o.Tally)
	}
	if m&outParameters != 0 {
		dst = binary.AppendUvarint(dst, uint64(o.Parameters))
	}
	if m&outRisk != 0 {
		dst = appendDecision(dst, o.Risk)
	}
	if m&outCycle != 0 {
		dst = append(dst, o.Cycle)
	}
	if m >= outMCC {
		dst = appendCleared(dst, o, m)
	}
	return dst
}

// appendPaid writes what each programme has paid of a tender.
func appendPaid(dst []byte, o *Outcome) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(o.Legs)))
	for i := range o.Legs {
		dst = binary.AppendUvarint(dst, uint64(o.Legs[i].Program))
		dst = appendAmount(appendAmount(dst, o.Legs[i].Amount), o.Legs[i].Covers)
	}
	return dst
}

func appendTender(dst []byte, terms []TenderTerm) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(terms)))
	for _, term := range terms {
		dst = binary.AppendUvarint(dst, uint64(term.Program))
		dst = binary.AppendUvarint(dst, uint64(term.Points))
		dst = binary.AppendUvarint(dst, uint64(term.Per))
	}
	return dst
}

func decodeTender(r *reader, dst []TenderTerm) []TenderTerm {
	for range r.count(MaxTender, 3) {
		dst = append(dst, TenderTerm{Program: r.program(), Points: r.uint32(), Per: r.uint32()})
	}
	return dst
}

func appendBalances(dst []byte, balances []Balance) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(balances)))
	for _, b := range balances {
		dst = binary.AppendUvarint(dst, uint64(b.Program))
		dst = appendAmount(dst, b.Free)
		dst = appendAmount(dst, b.Held)
	}
	return dst
}

func decodeBalances(r *reader, dst []Balance, limit int) []Balance {
	for range r.count(limit, 3) {
		b := Balance{Program: r.program()}
		b.Free, b.Held = r.amount(), r.amount()
		dst = append(dst, b)
	}
	return dst
}

func decodeOutcome(r *reader, o *Outcome, at points.Timestamp) {
	*o = Outcome{Postings: o.Postings[:0], Lots: o.Lots[:0], Others: o.Others[:0], Legs: o.Legs[:0], Undone: o.Undone[:0], Owners: o.Owners[:0]}
	o.Position = points.Position(r.uvarint())
	o.Reason = points.Reason(r.byte())
	o.Posted = r.timestamp() + at
	o.Date = r.date()
	m := r.uvarint()
	if m > outcomeMask {
		r.fail()
		return
	}
	if m&outMember != 0 {
		o.Member = points.MemberID(r.uvarint())
	}
	if m&outProgram != 0 {
		o.Program = r.program()
	}
	if m&outIssuer != 0 {
		o.Issuer = points.IssuerID(r.uvarint())
	}
	if m&outOriginal != 0 {
		o.Original = points.Position(r.uvarint())
	}
	for _, field := range [...]struct {
		bit    uint64
		amount *points.Amount
	}{{outAmount, &o.Amount}, {outFree, &o.Free}, {outPending, &o.Pending}, {outHeld, &o.Held}, {outDebt, &o.Debt}} {
		if m&field.bit != 0 {
			*field.amount = r.amount()
		}
	}
	if m&outBatch != 0 {
		o.Batch = r.uint32()
	}
	o.More = m&outMore != 0
	if m&outPostings != 0 {
		for range r.count(maxPostings, 3) {
			p := Posting{Account: decodeAccountKey(r, o)}
			p.Amount, p.After = r.amount(), r.amount()
			o.Postings = append(o.Postings, p)
		}
	}
	if m&outLots != 0 {
		decodeMoves(r, o)
	}
	if m&outOthers != 0 {
		o.Others = decodeBalances(r, o.Others, maxOthers)
	}
	if m&outAnswer != 0 {
		o.Answer = points.Reason(r.byte())
	}
	if m&outLegs != 0 {
		o.Legs = decodeLegs(r, o.Legs)
	}
	if m&outTally != 0 {
		o.Tally = decodeTally(r)
	}
	o.Unequal = m&outUnequal != 0
	if m&outParameters != 0 {
		o.Parameters = r.uint32()
	}
	if m&outRisk != 0 {
		o.Risk = decodeDecision(r)
	}
	if m&outCycle != 0 {
		o.Cycle = r.byte()
	}
	if m >= outMCC {
		decodeCleared(r, o, m)
	}
}

func decodeLegs(r *reader, dst []TenderLeg) []TenderLeg {
	for range r.count(MaxTender, 3) {
		leg := TenderLeg{Program: r.program()}
		leg.Amount, leg.Covers = r.amount(), r.amount()
		dst = append(dst, leg)
	}
	return dst
}

// An account key is one byte for the kind; bit 7 says that programme and party
// are the outcome's own member and programme, bit 6 that the programme alone is.
const (
	ownParty   = 0x80
	ownProgram = 0x40
)

func appendAccountKey(dst []byte, k AccountKey, o *Outcome) []byte {
	own := k.Program == o.Program && k.Kind < ownProgram
	switch {
	case own && k.Kind == MemberAccount && k.Party == uint64(o.Member):
		return append(dst, byte(k.Kind)|ownParty)
	case own:
		dst = append(dst, byte(k.Kind)|ownProgram)
	default:
		dst = append(dst, byte(k.Kind))
		dst = binary.AppendUvarint(dst, uint64(k.Program))
	}
	return binary.AppendUvarint(dst, k.Party)
}

func decodeAccountKey(r *reader, o *Outcome) AccountKey {
	kind := r.byte()
	k := AccountKey{Kind: AccountKind(kind &^ (ownParty | ownProgram)), Program: o.Program, Party: uint64(o.Member)}
	if kind&ownParty != 0 {
		return k
	}
	if kind&ownProgram == 0 {
		k.Program = r.program()
	}
	k.Party = r.uvarint()
	return k
}

// A move's first byte says what it shares with the move before it, and whether
// it is one between free and held.
const (
	moveHeld    = 1
	moveSameAcc = 2
)

func appendMoves(dst []byte, o *Outcome) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(o.Lots)))
	var last AccountKey
	for i := range o.Lots {
		move := &o.Lots[i]
		var flags byte
		if move.Held {
			flags |= moveHeld
		}
		if i > 0 && move.Account == last {
			flags |= moveSameAcc
		}
		dst = append(dst, flags)
		if flags&moveSameAcc == 0 {
			dst = appendAccountKey(dst, move.Account, o)
		}
		last = move.Account
		dst = appendLotKey(dst, move.Lot)
		dst = appendAmount(dst, move.Amount)
	}
	return dst
}

func decodeMoves(r *reader, o *Outcome) {
	var last AccountKey
	for i := range r.count(maxMoves, 6) {
		flags := r.byte()
		if flags > moveHeld|moveSameAcc || (i == 0 && flags&moveSameAcc != 0) {
			r.fail()
			return
		}
		if flags&moveSameAcc == 0 {
			last = decodeAccountKey(r, o)
		}
		move := LotMove{Account: last, Held: flags&moveHeld != 0}
		move.Lot = decodeLotKey(r)
		move.Amount = r.amount()
		o.Lots = append(o.Lots, move)
	}
}

// lotDecays, in the byte of the origin, says that the date of the next decay
// follows behind the others.
const lotDecays = 0x80

// lotSwaps says the same of the first day of swapping, behind that.
const lotSwaps = 0x40

func appendLotKey(dst []byte, k LotKey) []byte {
	origin := byte(k.Origin)
	if k.DecaysOn != 0 {
		origin |= lotDecays
	}
	if k.SwapFrom != 0 {
		origin |= lotSwaps
	}
	dst = append(dst, k.Priority, origin)
	dst = binary.AppendUvarint(dst, uint64(k.ExpiresOn))
	dst = binary.AppendUvarint(dst, uint64(k.ActiveOn))
	if k.DecaysOn != 0 {
		dst = binary.AppendUvarint(dst, uint64(k.DecaysOn))
	}
	if k.SwapFrom != 0 {
		dst = binary.AppendUvarint(dst, uint64(k.SwapFrom))
	}
	return dst
}

func decodeLotKey(r *reader) LotKey {
	k, origin := LotKey{Priority: r.byte()}, r.byte()
	k.Origin = Origin(origin &^ (lotDecays | lotSwaps))
	k.ExpiresOn, k.ActiveOn = r.date(), r.date()
	if origin&lotDecays != 0 {
		if k.DecaysOn = r.date(); k.DecaysOn == 0 {
			r.fail()
		}
	}
	if origin&lotSwaps != 0 {
		if k.SwapFrom = LotDay(r.uint16()); k.SwapFrom == 0 {
			r.fail()
		}
	}
	return k
}

// malformed tells what keeps a record of the command from being read back; nil when
// nothing does. What is malformed cannot be remembered, and is refused without a trace.
func (c *Command) malformed(inGroup bool) error {
	switch {
	case c.Kind == 0 || c.Kind >= kindCount:
		return points.Errorf(points.FormatError, "a command of kind %d: there is none", c.Kind)
	case len(c.Group) > maxGroup:
		return points.Errorf(points.FormatError, "a group of %d commands: want at most %d", len(c.Group), maxGroup)
	case len(c.Told) > points.MaxBalances:
		return points.Errorf(points.FormatError, "%d balances: want at most %d", len(c.Told), points.MaxBalances)
	case !validTender(c.Tender):
		return points.Errorf(points.FormatError, "tender: want each programme once, at most %d, with points and per of 1 or more", MaxTender)
	case len(c.Items) > MaxUpload:
		return points.Errorf(points.FormatError, "%d items of an upload: want at most %d", len(c.Items), MaxUpload)
	case c.grouped() != (len(c.Group) > 0) || (inGroup && c.grouped()):
		return points.Errorf(points.FormatError, "a command of kind %v with %d in its group", c.Kind, len(c.Group))
	case c.PINResult >= pinResultCount:
		return points.Errorf(points.FormatError, "PIN result %d: there is none", c.PINResult)
	case c.Kind != KindPIN && !c.PINValue.IsZero():
		return points.Errorf(points.FormatError, "a PIN that nobody has compared")
	case len(c.Moves) > MaxMoves || (len(c.Moves) > 0 && c.Kind != KindPost):
		return points.Errorf(points.FormatError, "%d moves: only a posting of a settlement has some, at most %d", len(c.Moves), MaxMoves)
	case c.Planned < 0 || c.Planned > math.MaxInt64/2 || c.Sent < 0 || c.Sent > math.MaxInt64/2:
		return points.Errorf(points.FormatError, "planned %d or sent %d is out of range", c.Planned, c.Sent)
	case c.At < 0 || c.At > math.MaxInt64/2:
		return points.Errorf(points.FormatError, "time %d is out of range", c.At)
	case (c.Kind == KindPut || c.Kind == KindEnrol) != (c.Entry != Entry{}):
		return points.Errorf(points.FormatError, "a put and an enrolment have an entry, and nothing else has")
	case c.Kind != KindGroup && len(c.Group) > 1:
		return points.Errorf(points.FormatError, "a command of kind %v with %d acts: want one", c.Kind, len(c.Group))
	}
	if (c.Kind == KindDispute) != (c.Dispute != DisputeMove{}) || (c.Kind == KindLeg) != (c.Leg != Leg{}) {
		return points.Errorf(points.FormatError, "a step of a dispute, or a leg, in a command of kind %v", c.Kind)
	}
	if err := longest(maxText, text{"operator", c.Operator}, text{"second", c.Second}, text{"note", c.Note}, text{"evidence", c.Dispute.Evidence}, text{"evidence", c.Leg.Evidence}); err != nil {
		return err
	}
	for i := range c.Group {
		if err := c.Group[i].malformed(true); err != nil {
			return err
		}
	}
	if err := c.Ceremony.malformed(c.Kind); err != nil {
		return err
	}
	if err := c.malformedCertificate(); err != nil {
		return err
	}
	return c.Entry.malformed()
}

// grouped reports whether a command of this kind holds others.
func (c *Command) grouped() bool {
	return c.Kind == KindGroup || c.Kind == KindPropose || c.Kind == KindApprove
}

// text is a text with its name.
type text struct{ name, value string }

// longest checks that texts have at most so many bytes.
func longest(most int, texts ...text) error {
	for _, t := range texts {
		if len(t.value) > most {
			return points.Errorf(points.FormatError, "%s: %d bytes, want at most %d", t.name, len(t.value), most)
		}
	}
	return nil
}
