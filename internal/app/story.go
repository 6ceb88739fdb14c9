package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// storyReach is in how many records behind the last that the book itself knows of a story
// is looked for: a fraction of a second's reading.
const storyReach = 100_000

// Story is what became of a request whose issuer keeps its own ledger: to whom it went,
// what the acquirer was told, where it stands now, and how that came about.
type Story struct {
	RRN      string           `json:"rrn"` // of the request
	Issuer   points.IssuerID  `json:"issuer"`
	Link     string           `json:"link"`
	Program  points.ProgramID `json:"program"`
	Asked    points.Amount    `json:"asked"`
	Approved points.Amount    `json:"approved"`
	Booked   points.Amount    `json:"booked"` // what stands of it in clearing, credit to the acquirer positive
	State    string           `json:"state"`
	// Told is what the acquirer was told; absent: there is no answer yet.
	Told    points.Reason `json:"told,omitempty"`
	DE39    string        `json:"de39,omitempty"`
	English string        `json:"english,omitempty"`
	Chapter []Chapter     `json:"chapters"`
	// Reach is up to which RRN the journal was looked through. What came behind it is
	// not in the story.
	Reach string `json:"reach"`
}

// Chapter is one record of a story.
type Chapter struct {
	RRN    string        `json:"rrn"`
	Posted string        `json:"posted"`
	Kind   book.Kind     `json:"kind"`
	Answer points.Reason `json:"answer,omitempty"` // of the issuer, or of the operators who asked it
	Amount points.Amount `json:"amount,omitempty"`
	Text   string        `json:"text"`
}

// storyOf tells the story that a record is part of; nil: it is about no issuer with a
// ledger of its own.
func (a *App) storyOf(ctx context.Context, rec *book.Record) (*Story, error) {
	if !decidedElsewhere(rec) && rec.Outcome.Original == 0 {
		return nil, nil //nolint:nilnil // no story.
	}
	var view book.RemoteView
	var found bool
	err := a.ledger.View(ctx, func(b *book.Book) error {
		for _, position := range [...]points.Position{rec.Outcome.Position, rec.Outcome.Original} {
			if position == 0 {
				continue
			}
			v, ok, err := b.Remote(position)
			if err != nil {
				return err
			}
			if ok {
				view, found = v, true
				return nil
			}
		}
		return nil
	})
	if err != nil || !found {
		return nil, err
	}
	return a.tell(ctx, &view)
}

func (a *App) tell(ctx context.Context, view *book.RemoteView) (*Story, error) {
	s := &Story{
		RRN: rrnOf(view.Position), Issuer: view.Issuer, Link: a.router.Table().LinkOf(view.Issuer), Program: view.Program,
		Asked: view.Asked, Approved: view.Approved, Booked: view.Booked, State: stateOf(view), Chapter: []Chapter{},
	}
	told, ok, err := a.toldOf(view)
	if err != nil {
		return nil, err
	}
	if ok {
		s.Told, s.DE39, s.English = told, told.DE39(), told.English()
	}
	var seen points.Position
	read := func(rec *book.Record) error {
		if c, ok := chapterOf(view, rec); ok && rec.Outcome.Position > seen {
			s.Chapter = append(s.Chapter, c)
			seen = rec.Outcome.Position
		}
		return nil
	}
	// What the book knows by position may lie far behind the request, as that which ends
	// it may lie far behind these.
	known := []points.Position{view.Position, view.Answered, view.OwedBy, view.Reversed}
	known = slices.DeleteFunc(known, func(p points.Position) bool { return p == 0 })
	slices.Sort(known)
	known = slices.Compact(known)
	for i, position := range known {
		reach := position + storyReach
		if i+1 < len(known) {
			reach = min(reach, known[i+1]-1)
		}
		reach = min(reach, a.ledger.Durable())
		if err := a.ledger.Scan(ctx, position, reach, read); err != nil {
			return nil, fmt.Errorf("the story of %s: %w", s.RRN, err)
		}
		s.Reach = rrnOf(reach)
	}
	return s, nil
}

// toldOf is what the acquirer of a request was told; ok is false when there is no answer.
func (a *App) toldOf(view *book.RemoteView) (told points.Reason, ok bool, err error) {
	switch view.Answered {
	case 0:
		return 0, false, nil
	case view.Position: // It was approved here as it came.
		return points.Approved, true, nil
	}
	rec, err := a.ledger.Record(view.Answered)
	return rec.Outcome.Answer, rec.Outcome.Answer != 0, err
}

// stateOf says where a transaction at an issuer stands now.
func stateOf(view *book.RemoteView) string {
	switch view.Phase {
	case book.RemoteOpen:
		return "open: the issuer is asked and has not answered"
	case book.RemoteOwed:
		if view.Actual != 0 {
			return "owed: the issuer has not acknowledged the reversal of a part"
		}
		return "owed: the issuer has not acknowledged the reversal"
	case book.RemoteTold:
		return "owed: the issuer has not acknowledged the advice"
	case book.RemoteQueued:
		return "queued: the operators ask the issuer (lianfen admin owed list)"
	case book.RemoteDone:
		return "settled: nothing is owed"
	default:
		return fmt.Sprintf("phase %d", view.Phase)
	}
}

// chapterOf is what a record says about the transaction at view; ok is false when it says
// nothing.
func chapterOf(view *book.RemoteView, rec *book.Record) (c Chapter, ok bool) {
	cmd, out := &rec.Command, &rec.Outcome
	if out.Position != view.Position && (out.Original != view.Position || !out.Reason.Approved()) {
		return c, false
	}
	c = Chapter{RRN: rrnOf(out.Position), Posted: out.Posted.String(), Kind: cmd.Kind, Amount: out.Amount, Text: "forwarded to the issuer"}
	switch {
	case out.Position == view.Position && view.Unasked:
		c.Text = "approved here as it came; the issuer is owed an advice"
	case out.Position == view.Position:
	default:
		c.Answer = cmd.Answer
		c.Text = happened(cmd, out)
	}
	return c, c.Text != ""
}

// happened is what a later command did to a transaction at an issuer.
func happened(cmd *book.Command, out *book.Outcome) string {
	switch cmd.Kind {
	case book.KindConclude:
		return concluded(cmd, out)
	case book.KindStandIn:
		if cmd.Answer == points.NoAnswer {
			return "approved in the silent issuer's place (stand-in); its reversal is owed first, then an advice"
		}
		return "approved in the issuer's place, which was not reached (stand-in); an advice is owed"
	case book.KindOwe:
		if out.Answer.Approved() {
			return "no answer in time; it stands, and is told again until it is acknowledged"
		}
		return "no answer in time; a reversal is owed"
	case book.KindAcknowledge:
		what := "advice"
		if cmd.Reverses != 0 {
			what = "reversal"
		}
		return fmt.Sprintf("the issuer answered the %s: %v (DE39 %s)", what, cmd.Answer, cmd.Answer.DE39())
	case book.KindGiveUp:
		return "not acknowledged in time; left to the operators"
	case book.KindResolve:
		stands := "gone at the issuer"
		if cmd.Answer == points.Approved {
			stands = "it stands at the issuer"
		}
		return fmt.Sprintf("resolved by %s and %s: %s", cmd.Operator, cmd.Second, stands)
	case book.KindReverse:
		if cmd.Actual != 0 {
			return "reversed in part by the acquirer"
		}
		return "reversed by the acquirer"
	case book.KindVoid, book.KindRelease:
		return "a void of it came"
	case book.KindRefund:
		return "a refund of it came"
	case book.KindCapture:
		return "a completion of it came"
	default:
		return ""
	}
}

func concluded(cmd *book.Command, out *book.Outcome) string {
	answer := fmt.Sprintf("%v (DE39 %s)", cmd.Answer, cmd.Answer.DE39())
	switch {
	case cmd.Answer == points.LineDown || cmd.Answer == points.IssuerDown:
		return "the issuer was not reached: " + answer
	case out.Answer == 0 && cmd.Answer.Approved():
		return "the issuer's late answer: " + answer + "; the reversal goes on"
	case out.Answer == 0:
		return "the issuer's late answer: " + answer + "; there is nothing to reverse"
	case out.Answer != cmd.Answer:
		return fmt.Sprintf("the issuer answered %s; the acquirer was told %v, and a reversal is owed", answer, out.Answer)
	default:
		return "the issuer answered " + answer
	}
}

// told fills in, of records of requests that their issuers decide, what their acquirers
// were told.
func (a *App) told(ctx context.Context, records []book.Record, shown []Record) error {
	if !slices.ContainsFunc(records, func(rec book.Record) bool { return decidedElsewhere(&rec) }) {
		return nil
	}
	views := make([]book.RemoteView, len(records))
	err := a.ledger.View(ctx, func(b *book.Book) (err error) {
		for i := range records {
			if !decidedElsewhere(&records[i]) {
				continue
			}
			if views[i], _, err = b.Remote(records[i].Outcome.Position); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range views {
		if views[i].Position == 0 {
			continue
		}
		reason, ok, tellErr := a.toldOf(&views[i])
		err = errors.Join(err, tellErr)
		shown[i].Forwarded = true
		if ok {
			shown[i].Told = reason
		}
		shown[i].Amount = cmp.Or(shown[i].Amount, views[i].Asked)
	}
	return err
}

// decidedElsewhere reports whether an issuer with a ledger of its own decides what a
// record asks: all of it, or a leg of it.
func decidedElsewhere(rec *book.Record) bool {
	if !rec.Outcome.Reason.Approved() {
		return false
	}
	switch rec.Command.Kind {
	case book.KindForward:
		return true
	case book.KindRedeem, book.KindRefund:
		return rec.Outcome.Member == 0 || len(rec.Command.Tender) > 0
	case book.KindVoid, book.KindCapture, book.KindRelease:
		return rec.Outcome.Member == 0
	default:
		return false
	}
}
