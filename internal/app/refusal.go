package app

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// refusal is what an operator hears whose command was declined: the field, its value
// and what is allowed, where it is one field; else the reason.
func (a *App) refusal(ctx context.Context, what string, cmd *book.Command, reason points.Reason) error {
	var why error
	err := a.ledger.View(ctx, func(b *book.Book) error {
		why = b.Why(cmd)
		return nil
	})
	if err != nil {
		return err
	}
	if why != nil && points.ReasonOf(why) == reason {
		return points.Errorf(reason, "%s: %s", what, a.inZone(why.Error()))
	}
	if reason == points.RoleMissing {
		if err := a.roleMissing(ctx, cmd); err != nil {
			return points.Errorf(points.ReasonOf(err), "%s: %w", what, err)
		}
	}
	return points.Errorf(reason, "%s: %s", what, reason.English())
}

// roleMissing says which role a command needs that whoever asks has not; nil: that is not
// known.
func (a *App) roleMissing(ctx context.Context, cmd *book.Command) error {
	act := cmd
	if cmd.Kind == book.KindPropose && len(cmd.Group) == 1 {
		act = &cmd.Group[0]
	}
	w := who(ctx)
	if w.Name == "" || act.Needs() == 0 || w.Roles.Has(act.Needs()) {
		return nil
	}
	operators, err := a.registryOperators(ctx)
	if err != nil {
		return err
	}
	return missing(w, act.Needs(), operators)
}

// possible refuses what cannot be carried out as it stands, before it is put before a
// second person, who would hear it otherwise.
func (a *App) possible(ctx context.Context, what string, cmd *book.Command) error {
	var why error
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		why = b.Why(cmd)
		return nil
	}); err != nil {
		return err
	}
	if why != nil {
		return points.Errorf(points.ReasonOf(why), "%s: %w", what, why)
	}
	return nil
}

// instant is how a sentence of the book has a time: it knows of no zone.
var instant = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`) //nolint:gochecknoglobals // never written.

// inZone shows the times of a sentence as all others of the switch.
func (a *App) inZone(text string) string {
	return instant.ReplaceAllStringFunc(text, func(at string) string {
		when, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return at // No time after all.
		}
		return a.shown(points.TimestampOf(when))
	})
}

// legible refuses a command with a text that steers the terminal of whoever reads it.
// The book does not: what was written before the check has to replay.
func legible(what string, cmd *book.Command) (err error) {
	cmd.Texts(func(name, value string) {
		if bad := points.CheckText(name, value); bad != nil && err == nil {
			err = points.Errorf(points.ReasonOf(bad), "%s: %w", what, bad)
		}
	})
	return err
}

// LoadError says which entry of a directory was refused, and what came of the others.
// Whatever was done stays; to load the whole directory again is safe.
type LoadError struct {
	At    string // the entry, such as merchants[2]; empty: no entry is to blame
	Done  int    // entries that were put
	Total int

	err error
}

// Error tells what was refused and how many entries were done.
func (e *LoadError) Error() string {
	if e.Total <= 1 {
		return e.err.Error() // Nothing else is to be told of.
	}
	return fmt.Sprintf("%v; %d of %d entries are done, and to load it all again is safe", e.err, e.Done, e.Total)
}

// Unwrap returns the refusal.
func (e *LoadError) Unwrap() error { return e.err }
