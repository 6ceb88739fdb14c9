package tariff

// Fault says why an item cannot be valued or folded: it goes to the exception list
// with this reason, and the run goes on with the next. [OK] is none.
type Fault uint8

// Faults. The numbers are written in exception lists: only append.
const (
	OK            Fault = iota
	BadKind             // not a kind, or not one that can be undone
	BadSign             // the amount's sign is not that of the kind
	BadAmount           // zero, or more than fifteen digits
	BadMember           // a party is missing, or has no number in settlement
	BadOriginal         // the original's time, kind or refunded amount is missing or wrong
	BadQuote            // the figures of a quoted swap do not add up
	NoRate              // no rate of the programme in force at that moment
	NoTargetRate        // the same of the programme that a swap goes to
	NoFees              // no fee schedule in force at that moment
	NoFeeRow            // no row of the schedule in force fits
	Overflow            // an intermediate or a result does not fit
	TooWide             // a result does not fit the files: 15 digits of value, 12 of a fee
	UnknownMember       // a party is not among the members of the run
	endOfFaults
)

// String says what is wrong and what to do about it.
func (f Fault) String() string {
	texts := [endOfFaults]string{
		OK:            "ok",
		BadKind:       "not a kind of item, or its original's kind cannot be undone: correct the item",
		BadSign:       "the amount's sign is not that of the kind: RDM, EAR, SWP, REP, ADJ and FEE are positive, RFD and CBK negative",
		BadAmount:     "the amount is zero or has more than 15 digits: correct the item",
		BadMember:     "a party is missing or has more than 8 digits: register the institution under a settlement number",
		BadOriginal:   "the original's time, kind or refunded amount is missing or wrong: find the original",
		BadQuote:      "the figures of the quoted swap do not add up: compare with the quote",
		NoRate:        "no rate of the programme was in force: value it by an adjustment, and propose a rate",
		NoTargetRate:  "no rate of the target programme was in force: value it by an adjustment, and propose a rate",
		NoFees:        "no fee schedule was in force: clear it by an adjustment, and propose a schedule",
		NoFeeRow:      "no row of the fee schedule fits: add one, with * where any will do",
		Overflow:      "a product does not fit: check amount, rate and fees",
		TooWide:       "a result has more digits than the files carry (15 of value, 12 of a fee): check amount, rate and fees",
		UnknownMember: "a party is not among the members of the run: register it",
	}
	if int(f) < len(texts) {
		return texts[f]
	}
	return "unknown fault"
}
