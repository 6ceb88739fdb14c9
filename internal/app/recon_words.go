package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// reconMark begins the evidence of an act about an exception, or its note where it books nothing:
// "recon ID ACTION: what proves it". Acts of earlier versions name no action.
const reconMark = "recon "

// ReconActions are the ways in which an exception ends.
func ReconActions() []string {
	return []string{ActionSuspense, ActionPost, ActionAdjust, ActionReverse, ActionClose}
}

// knownAction refuses what is no way to end an exception.
func knownAction(action string) error {
	if slices.Contains(ReconActions(), action) {
		return nil
	}
	return points.Errorf(points.FormatError, "action %q: want one of %s", action, strings.Join(ReconActions(), ", "))
}

func reconEvidence(id, action, evidence string) string {
	return reconMark + id + " " + action + ": " + evidence
}

// reconSaid is what a text of an act says: about which exception, how it ends (empty: that was not
// yet written down), and what proves it.
func reconSaid(text string) (id, action, evidence string, ok bool) {
	rest, marked := strings.CutPrefix(text, reconMark)
	about, evidence, ok := strings.Cut(rest, ":")
	id, action, _ = strings.Cut(about, " ")
	return id, action, strings.TrimSpace(evidence), marked && ok
}

// reconOf is the first of an act's texts that is about an exception.
func reconOf(act *book.Command) (id, action, evidence string, ok bool) {
	for _, text := range []string{act.Leg.Evidence, act.Dispute.Evidence, act.Note} {
		if id, action, evidence, ok = reconSaid(text); ok {
			return id, action, evidence, true
		}
	}
	return "", "", "", false
}

// aboutException says what an act about an exception does to it, before what it books: whoever
// approves it has to see that the exception is at its end then. Empty: it is about none.
func aboutException(act *book.Command) string {
	id, action, evidence, ok := reconOf(act)
	switch {
	case !ok || act.Kind == book.KindNote && act.Act != book.ActSettlement:
		return ""
	case act.Kind == book.KindNote:
		return fmt.Sprintf("%s exception %s of the reconciliation: nothing is booked, and it is over; evidence: %s", ActionClose, id, evidence)
	case action == "" && act.Kind == book.KindDispute:
		action = ActionReverse
	case action == "":
		action = "end"
	}
	return fmt.Sprintf("%s exception %s of the reconciliation: ", action, id)
}

// evidenceOf is what proves an act, without the exception that it is about.
func evidenceOf(text string) string {
	if _, _, evidence, ok := reconSaid(text); ok {
		return evidence
	}
	return text
}
