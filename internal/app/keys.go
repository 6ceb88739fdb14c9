package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// openKeys opens the keystore. A switch without the file serves terminals without keys
// only: the others cannot sign on.
func (a *App) openKeys() error {
	c := &a.opts.Config.Keys
	if _, err := os.Stat(c.File); c.File == "" || errors.Is(err, fs.ErrNotExist) {
		a.log.Debug("no keystore: terminals have no keys", slog.String("file", c.File))
		return nil
	}
	kek, err := certs.OpenKEK(c.KEK, rand.Reader)
	if err != nil {
		return fmt.Errorf("keys.kek: %w", err)
	}
	a.kek = kek
	a.keystore, err = certs.OpenKeystore(c.File, kek, rand.Reader)
	return err
}

// reloadKeys reads the keystore again. What the journal does not know of, and may not
// simply note, is refused, and what was in force stays.
func (a *App) reloadKeys(ctx context.Context) (changed bool, err error) {
	return a.sw.ReloadKeys(func(m certs.Mark) error { return a.account(ctx, m) })
}

// closeKeys closes the token that the key-encryption key is in, where it is in one.
func (a *App) closeKeys() error {
	if token, ok := a.kek.(io.Closer); ok {
		return token.Close()
	}
	return nil
}

// PINChange sets or changes the PIN of a card. The PIN comes as a block under a key that
// whoever entered it shares with the switch: the process never has it in clear. Without a
// block the card's PIN is unlocked.
type PINChange struct {
	Card     CardNumber    `json:"card"`
	Block    points.Secret `json:"block,omitempty"` // hexadecimal
	Format   string        `json:"format,omitempty"`
	Key      string        `json:"key,omitempty"`   // name of a key for zone-pin
	Tries    uint32        `json:"tries,omitempty"` // wrong ones in a row that lock it, 3 to 6; 0: as it was, 3 when new
	Operator string        `json:"operator"`
	Note     string        `json:"note,omitempty"`
}

// LogValue is the name of who does it alone.
func (c PINChange) LogValue() slog.Value { return slog.StringValue(c.Operator) }

// PINOf names a card.
type PINOf struct {
	Card CardNumber `json:"card"`
}

// PINState is what may be told of the PIN of a card.
type PINState struct {
	Card   string `json:"card"` // masked
	Set    bool   `json:"set"`
	Tries  uint8  `json:"tries"` // wrong ones in a row
	Limit  uint8  `json:"limit"`
	Locked bool   `json:"locked"`
	RRN    string `json:"rrn,omitempty"` // of the change
	// Pending says that nothing was changed yet: RRN is the proposal, which a second
	// person has until then to approve.
	Pending string `json:"pending,omitempty"`
}

func (a *App) setPIN(ctx context.Context, change PINChange) (PINState, error) {
	if err := signed(ctx, "pin", &change.Operator, ""); err != nil {
		return PINState{}, err
	}
	pan, err := points.ParsePAN(string(change.Card))
	if err != nil {
		return PINState{}, err
	}
	cmd := book.Command{Kind: book.KindPIN, Edition: book.Edition, At: a.opts.Clock(), Card: a.token(pan), Limit: change.Tries, Operator: change.Operator, Note: change.Note}
	if change.Block != "" {
		if cmd.PINValue, err = a.pinValue(&change, pan, cmd.At); err != nil {
			return PINState{}, err
		}
	}
	switch {
	case cmd.Operator == "":
		return PINState{}, points.Errorf(points.FormatError, "pin: operator: want who does it: --operator, or lianfen admin login where operators sign in")
	case cmd.Limit != 0 && (cmd.Limit < book.MinPINTries || cmd.Limit > book.MaxPINTries):
		return PINState{}, points.Errorf(points.FormatError, "pin: tries %d: want %d to %d", cmd.Limit, book.MinPINTries, book.MaxPINTries)
	}
	done, err := a.do(ctx, "pin", &cmd)
	if points.ReasonOf(err) == points.NotPermitted {
		return PINState{}, points.Errorf(points.NotPermitted, "pin: card %s has no PIN that could be unlocked; set one", pan.Masked())
	}
	if err != nil {
		return PINState{}, err
	}
	state, err := a.showPIN(ctx, PINOf{change.Card})
	state.RRN, state.Pending = done.RRN, done.Pending
	return state, err
}

// pinValue is what is kept of the PIN in a change's block.
func (a *App) pinValue(change *PINChange, pan points.PAN, now points.Timestamp) (value book.PINValue, err error) {
	if a.keystore == nil {
		return value, points.Errorf(points.FunctionDisabled, "pin: this switch has no keystore; name one: keys.file")
	}
	format, err := certs.ParsePINFormat(change.Format)
	if err != nil {
		return value, points.Errorf(points.FormatError, "pin: format: %w", err)
	}
	block, err := hex.DecodeString(string(change.Block))
	if err != nil {
		return value, points.Errorf(points.FormatError, "pin: block: want hexadecimal digits")
	}
	key, err := a.keystore.Use(change.Key, certs.ZonePIN, now)
	if err != nil {
		return value, points.Errorf(points.FormatError, "pin: key: %w", err)
	}
	under, err := certs.NewPINKey(key)
	if err != nil {
		return value, points.Errorf(points.FormatError, "pin: key: %w", err)
	}
	return a.sw.PINValue(under, format, block, pan)
}

func (a *App) showPIN(ctx context.Context, of PINOf) (PINState, error) {
	pan, err := points.ParsePAN(string(of.Card))
	if err != nil {
		return PINState{}, err
	}
	state := PINState{Card: pan.Masked()}
	err = a.ledger.View(ctx, func(b *book.Book) error {
		view, ok, err := b.PIN(a.token(pan))
		if err == nil && !ok {
			err = points.Errorf(points.UnknownCard, "pin: card %s is not known", pan.Masked())
		}
		state.Set, state.Tries, state.Limit, state.Locked = view.Set, view.Tries, view.Limit, view.Locked
		return err
	})
	return state, err
}
