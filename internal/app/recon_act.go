package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/reconcile"
	"github.com/lianfen/lianfen/tariff"
)

// Actions that end an exception. Each is a command in the journal, proposed by one person
// and approved by another; the exception's identity stands in its evidence or note.
const (
	ActionSuspense = "suspense" // 挂账: the payer pays the operator's suspense account
	ActionPost     = "post"     // 补记: one member pays another what was left out
	ActionReverse  = "reverse"  // 冲销: what our item moved is taken back from the acquirer
	ActionAdjust   = "adjust"   // 调账: one member pays another the difference
	ActionClose    = "close"    // nothing is to be done, and why
)

// ReconQuery asks for exceptions: of one date or all, one class or all. Doubts and timing
// are left out unless All.
type ReconQuery struct {
	Date  points.BusinessDate `json:"date,omitzero"`
	Class string              `json:"class,omitempty"`
	ID    string              `json:"id,omitempty"`
	Done  bool                `json:"done,omitempty"` // those that were ended, too
	All   bool                `json:"all,omitempty"`
	Limit int                 `json:"limit,omitempty"`
}

// Exceptions are those that were asked for; More says that there are others.
type Exceptions struct {
	Exceptions []Exception `json:"exceptions"`
	More       bool        `json:"more,omitempty"`
}

// ReconAct is an act about an exception, in the index beside the exceptions; the journal
// has it all.
type ReconAct struct {
	ID       string `json:"id"`
	Action   string `json:"action"`
	RRN      string `json:"rrn"`                // of the proposal, or of the act
	State    string `json:"state"`              // pending, done, rejected
	Proposal string `json:"proposal,omitempty"` // what was decided
	Operator string `json:"operator"`
}

// States of an act.
const (
	actPending  = "pending"
	actDone     = "done"
	actRejected = "rejected"
)

const maxExceptions = 10_000 // in one answer

func (a *App) exceptions(ctx context.Context, q ReconQuery) (Exceptions, error) {
	result := Exceptions{Exceptions: []Exception{}}
	var class reconcile.Class
	if q.Class != "" {
		if err := class.UnmarshalText([]byte(q.Class)); err != nil {
			return result, err
		}
	}
	a.reconciling.Lock()
	defer a.reconciling.Unlock()
	acts, err := a.reconActs()
	if err != nil {
		return result, err
	}
	dates, err := a.reconDates()
	if err != nil {
		return result, err
	}
	limit := q.Limit
	if limit <= 0 || limit > maxExceptions {
		limit = maxExceptions
	}
	running := a.runningDate(ctx)
	for _, date := range dates {
		if q.Date != 0 && q.Date != date {
			continue
		}
		err := eachLine(filepath.Join(a.reconFolder(date), exceptionsName), func(e *Exception) error {
			e.Acts = acts[e.ID]
			done := slices.ContainsFunc(e.Acts, func(act ReconAct) bool { return act.State == actDone })
			switch {
			case e.Provisional && date < running: // Found before the end of a date that has ended: it was a look only.
			case q.ID != "" && e.ID != q.ID, class != 0 && e.Class != class:
			case q.ID == "" && !q.All && (e.Doubt || e.Timing), q.ID == "" && !q.All && !q.Done && done:
			case len(result.Exceptions) == limit:
				result.More = true
			default:
				result.Exceptions = append(result.Exceptions, *e)
			}
			return nil
		})
		if err != nil {
			return result, err
		}
	}
	return result, nil
}

func (a *App) actsPath() string { return filepath.Join(a.opts.Config.Data, reconName, actsName) }

// reconActs reads the acts, by exception: of one that was decided only the decision.
func (a *App) reconActs() (map[string][]ReconAct, error) {
	acts := make(map[string][]ReconAct)
	err := eachLine(a.actsPath(), func(act *ReconAct) error {
		list := acts[act.ID]
		if i := slices.IndexFunc(list, func(was ReconAct) bool { return act.Proposal != "" && was.RRN == act.Proposal }); i >= 0 {
			act.Action = list[i].Action
			list = slices.Delete(list, i, i+1)
		}
		acts[act.ID] = append(list, *act)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return acts, err
}

func (a *App) noteAct(act *ReconAct) error {
	text, err := json.Marshal(act)
	if err != nil {
		return fmt.Errorf("note the act: %w", err)
	}
	file, err := os.OpenFile(a.actsPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("note the act: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	return errors.Join(err, file.Sync(), file.Close())
}

// ReconActing proposes how an exception ends. Evidence is required.
type ReconActing struct {
	ID       string        `json:"id"`
	Action   string        `json:"action"`
	Payer    tariff.Member `json:"payer,omitempty"`  // suspense, post, adjust
	Payee    tariff.Member `json:"payee,omitempty"`  // post, adjust
	Amount   points.Amount `json:"amount,omitempty"` // in units of 0.0001 QZP; reverse: in points, 0 is all that is left
	Evidence string        `json:"evidence"`
	Note     string        `json:"note,omitempty"`
	Operator string        `json:"operator"`
	Second   string        `json:"second,omitempty"`
}

func (a *App) actOn(ctx context.Context, act ReconActing) (Done, error) {
	what := fmt.Sprintf("%s exception %s", act.Action, act.ID)
	if err := signed(ctx, what, &act.Operator, act.Second); err != nil {
		return Done{}, err
	}
	if err := knownAction(act.Action); err != nil {
		return Done{}, fmt.Errorf("exception %s: %w", act.ID, err)
	}
	if strings.TrimSpace(act.Evidence) == "" {
		return Done{}, points.Errorf(points.FormatError, "%s: name the evidence", what)
	}
	found, err := a.exceptions(ctx, ReconQuery{ID: act.ID})
	if err != nil {
		return Done{}, err
	}
	if len(found.Exceptions) != 1 || act.ID == "" {
		return Done{}, points.Errorf(points.UnknownOriginal, "%s: there is no such exception; lianfen recon list shows them", what)
	}
	e := &found.Exceptions[0]
	for _, was := range e.Acts {
		if was.State != actRejected {
			return Done{}, points.Errorf(points.AlreadyExists, "%s: %s under RRN %s is %s", what, was.Action, was.RRN, was.State)
		}
	}
	if e.Doubt {
		return Done{}, points.Errorf(points.NotPermitted, "%s: it is in doubt, and looked for again with the next date", what)
	}
	if e.Provisional {
		return Done{}, points.Errorf(points.NotPermitted, "%s: %v had not ended when it was compared: run it again (lianfen recon run --date %v)", what, e.Date, e.Date)
	}
	cmd, err := act.command(e)
	if err != nil {
		return Done{}, points.Errorf(points.ReasonOf(err), "%s: %w", what, err)
	}
	cmd.At, cmd.Operator, cmd.Second = a.opts.Clock(), act.Operator, act.Second
	if cmd.Kind == book.KindLeg || cmd.Kind == book.KindDispute {
		if err := a.possible(ctx, what, &cmd); err != nil {
			return Done{}, err
		}
	}
	done, err := a.do(ctx, what, &cmd)
	if err != nil {
		return done, err
	}
	state := actDone
	if done.Pending != "" {
		state = actPending
	}
	a.reconciling.Lock()
	defer a.reconciling.Unlock()
	return done, a.noteAct(&ReconAct{ID: act.ID, Action: act.Action, RRN: done.RRN, State: state, Operator: act.Operator})
}

// command is what carries an act out.
func (act *ReconActing) command(e *Exception) (book.Command, error) {
	evidence := reconEvidence(act.ID, act.Action, act.Evidence)
	about := points.Position(0)
	if e.Ours != nil {
		about = points.Position(e.Ours.CID)
	}
	note := strings.TrimSpace(fmt.Sprintf("%v of %v. %s", e.Class, e.Date, act.Note))
	leg := func(payee tariff.Member) book.Command {
		return book.Command{Kind: book.KindLeg, Amount: act.Amount, Note: note, Leg: book.Leg{Kind: tariff.KindADJ, Payer: act.Payer, Payee: payee, About: about, Evidence: evidence}}
	}
	switch act.Action {
	case ActionSuspense:
		return leg(tariff.AccountSuspense), nil
	case ActionPost, ActionAdjust:
		return leg(act.Payee), nil
	case ActionReverse:
		if about == 0 {
			return book.Command{}, points.Errorf(points.NotPermitted, "the switch has no item of it; post or adjust instead")
		}
		if good(e.Class) {
			return book.Command{}, points.Errorf(points.NotPermitted, "a line of class %v is about an item that both sides have: to reverse it would take points back from a good sale; close it once the partner has corrected its side, or adjust", e.Class)
		}
		return book.Command{
			Kind: book.KindDispute, Original: points.Position(e.Ours.CID), Amount: act.Amount, Note: note,
			Dispute: book.DisputeMove{Step: book.StepException, Who: book.PartyOperator, Code: "EXC", Evidence: evidence},
		}, nil
	case ActionClose:
		return book.Command{Kind: book.KindNote, Act: book.ActSettlement, Note: evidence + ". " + note}, nil
	default:
		return book.Command{}, knownAction(act.Action)
	}
}

// good reports whether an exception of the class leaves no doubt that our item took place, and
// with these points: a partner has it once too often, on another date, or with other fees.
func good(class reconcile.Class) bool {
	switch class {
	case reconcile.DupAcq, reconcile.DupIss, reconcile.Date, reconcile.Fee:
		return true
	default:
		return false
	}
}

// decidedAct notes beside the exceptions that an act about one was approved or rejected.
// What the journal has stands, whatever becomes of the note.
func (a *App) decidedAct(act *book.Command, proposal, rrn, state string) {
	id, _, _, ok := reconOf(act)
	if !ok {
		return
	}
	a.reconciling.Lock()
	defer a.reconciling.Unlock()
	if err := a.noteAct(&ReconAct{ID: id, RRN: rrn, State: state, Proposal: proposal, Operator: act.Operator}); err != nil {
		a.log.Warn("note of an act about an exception", slog.String("rrn", rrn), slog.Any("error", err))
	}
}

// Reconcile compares a business date with files of partners.
func (c *Client) Reconcile(ctx context.Context, q Reconciling) (r Reconciled, err error) {
	return r, c.call(ctx, "POST", "recon", q, &r)
}

// Exceptions lists what came of comparisons.
func (c *Client) Exceptions(ctx context.Context, q ReconQuery) (e Exceptions, err error) {
	return e, c.call(ctx, "POST", "recon/list", q, &e)
}

// ActOn proposes how an exception ends.
func (c *Client) ActOn(ctx context.Context, act ReconActing) (d Done, err error) {
	return d, c.call(ctx, "POST", "recon/act", act, &d)
}
