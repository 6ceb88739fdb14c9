package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
)

// Retokening says which store is to be written anew under which card key.
type Retokening struct {
	From   string // folder of a store, or of a backup, that is not served
	Data   string // new folder
	OldKey string // file of the card key that the store's cards are under
	NewKey string // file of the new one; it is drawn and written if there is none
	Log    *slog.Logger
	// Copied and Proved hear how many records are, and of how many.
	Copied, Proved func(done, total uint64)
}

// Retokened is a store under a new card key. Its journal is another chain than that of
// the old store: both ends are what a record of the key's change has to keep.
type Retokened struct {
	Restored
	Cards   uint64 `json:"cards"` // tokens in the journal, repetitions counted
	OldKCV  string `json:"old_key_kcv"`
	NewKCV  string `json:"new_key_kcv"`
	OldHash string `json:"old_chain"` // of the journal's last block
	NewHash string `json:"new_chain"`
}

// ErrSameKey says that the new card key is the old one.
var ErrSameKey = errors.New("app: the new card key is the old one")

// Retoken makes a new store of the journal of another with all cards under another key,
// and opens it once, which proves that each record gives its outcome again. The old
// store is opened read-only. When it fails, neither the new store is left nor a key
// that it has drawn.
func Retoken(ctx context.Context, r Retokening) (result Retokened, err error) {
	old, err := certs.ReadCardKey(r.OldKey)
	if err != nil {
		return Retokened{}, err
	}
	from, err := openUnserved(r.From)
	if err != nil {
		return Retokened{}, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if err := knows(from, old, r.OldKey); err != nil {
		return Retokened{}, err
	}
	fresh, drop, err := newCardKey(r.NewKey)
	if err != nil {
		return Retokened{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, drop())
		}
	}()
	oldCheck, newCheck := old.CheckValue(), fresh.CheckValue()
	if oldCheck == newCheck {
		return Retokened{}, fmt.Errorf("%w (%s)", ErrSameKey, r.NewKey)
	}
	result.Data = r.Data
	result.OldKCV, result.NewKCV = fmt.Sprintf("%X", oldCheck), fmt.Sprintf("%X", newCheck)
	err = makeWhole(r.Data, func(partial string) error { return r.build(ctx, partial, from, old, fresh, &result) })
	if err != nil {
		return Retokened{}, fmt.Errorf("retoken: %w", err)
	}
	return result, nil
}

func (r *Retokening) build(ctx context.Context, partial string, from *store.Store, old, fresh *certs.CardKey, result *Retokened) error {
	if err := store.Create(store.Options{Dir: partial, Log: r.Log}); err != nil {
		return err
	}
	to, err := store.Open(store.Options{Dir: partial, Log: r.Log})
	if err != nil {
		return err
	}
	all := func(visit func(nightFile) error) error { return nightFilesAt(r.From, visit) }
	if result.Files, err = copyNight(ctx, all, partial, false); err != nil {
		return errors.Join(err, to.Close())
	}
	check := fresh.CheckValue()
	done, err := ledger.Retoken(ctx, from, to, between(old, fresh), check[:], r.Copied)
	if err != nil {
		return errors.Join(err, to.Close())
	}
	result.Cards = done.Cards
	result.OldHash, result.NewHash = fmt.Sprintf("%x", done.From.Hash), fmt.Sprintf("%x", done.To.Hash)
	return provedOnce(ctx, to, done.To, Restoring{Log: r.Log, Proved: r.Proved}, &result.Restored)
}

// between exchanges what is under one card key for what is under another.
func between(old, fresh *certs.CardKey) ledger.Exchange {
	was, is := old.Operators(), fresh.Operators()
	return ledger.Exchange{
		Card: func(token *points.CardToken) error {
			pan, ok := old.PAN(*token)
			if !ok {
				return errors.New("a card there is not under the old card key")
			}
			fresh.Token(token, pan)
			return nil
		},
		Secret: func(operator string, sealed *string) (err error) {
			*sealed, err = was.Reseal(operator, *sealed, is)
			return err
		},
	}
}

// knows checks that key, read from path, is the card key of a store. A store that was
// never served knows none, and has no cards either.
func knows(db *store.Store, key *certs.CardKey, path string) error {
	known, ok, err := db.Get(nil, store.KeyCheck, nil)
	if err != nil {
		return err
	}
	if value := key.CheckValue(); ok && !bytes.Equal(known, value[:]) {
		return fmt.Errorf("%w (%s)", ErrOtherKey, path)
	}
	return nil
}

// newCardKey reads the card key at path, or draws one where there is no file; drop
// removes what was drawn.
func newCardKey(path string) (key *certs.CardKey, drop func() error, err error) {
	drop = func() error { return nil }
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := certs.WriteCardKey(path, rand.Reader); err != nil {
			return nil, drop, err
		}
		drop = func() error { return os.Remove(path) }
	}
	if key, err = certs.ReadCardKey(path); err != nil {
		return nil, nil, errors.Join(err, drop())
	}
	return key, drop, nil
}
