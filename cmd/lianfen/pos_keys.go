package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
)

// keysOf are the keys of a terminal, of the set that a script names, else of --keys;
// nil: it has none.
func (p *pos) keysOf(who sim.Identity, named string) (*sim.Keys, error) {
	word := cmp.Or(named, p.keySet)
	if word == "" {
		return nil, nil //nolint:nilnil // a terminal without keys is a terminal.
	}
	if initial, derived := strings.CutPrefix(word, derivedKeys); derived {
		keys, err := initialOf(&p.keys, initial)
		if err != nil {
			return nil, fmt.Errorf("terminal %v: keys: %w", who.Terminal, err)
		}
		return keys, nil
	}
	set, err := certs.ParseKeySet(word)
	switch {
	case err != nil && named != "":
		return nil, fmt.Errorf("terminal %v: keys: %w", who.Terminal, err)
	case err != nil:
		return nil, usage("--keys: %w", err)
	}
	return masterOf(&p.keys, who, set)
}

// masterOf gives a terminal its master key, as if it had been put into it by hand.
func masterOf(at *keysAt, who sim.Identity, set certs.KeySet) (*sim.Keys, error) {
	keys := &sim.Keys{Set: set, By: set.MAC(), Random: rand.Reader}
	err := at.open(func(store *certs.Keystore) (err error) {
		name := certs.TerminalMasterName(who.Merchant, who.Terminal)
		if keys.Master, err = store.Use(name, certs.TerminalMaster, now()); err != nil {
			return fmt.Errorf("%w; make it: lianfen keys generate %s --usage %v", err, name, certs.TerminalMaster)
		}
		for _, offered := range store.MastersOnOffer() {
			if offered.Name == name {
				keys.Next = offered // Perhaps it was taken a moment ago.
			}
		}
		return nil
	})
	return keys, err
}

// derivedKeys stands before the initial key of a terminal whose keys are derived.
const derivedKeys = "dukpt:"

// initialOf gives a terminal its initial key, as if it had been put into it where it was
// made. It counts messages; having no memory, it goes by the clock.
func initialOf(at *keysAt, initial string) (*sim.Keys, error) {
	var id book.InitialKey
	if err := id.UnmarshalText([]byte(initial)); err != nil {
		return nil, err
	}
	keys := &sim.Keys{By: certs.CMAC, Random: rand.Reader, Clock: now}
	copy(keys.KSN[:], id[:])
	var err error
	if keys.KSN, err = keys.KSN.ByClock(now()); err != nil {
		return nil, err
	}
	err = at.open(func(store *certs.Keystore) error {
		name := pointswitch.BaseKeyName([4]byte(id[:4]))
		base, err := store.Use(name, certs.DUKPTBase, now())
		if err != nil {
			return fmt.Errorf("%w; make it: lianfen keys generate %s --usage %v", err, name, certs.DUKPTBase)
		}
		keys.Initial, err = certs.DUKPTInitialKey(base, keys.KSN)
		return err
	})
	return keys, err
}

// nextKey is the change of a terminal's master key, from the terminal's side.
func (p *pos) nextKey() *cobra.Command {
	return &cobra.Command{
		Use: "next-key", Short: "Fetch the terminal's next master key, and sign on under it 主密钥更新", Args: none,
		Long: `Fetch the master key that an operator has left on offer (lianfen keys offer), and sign
on with a MAC by it, which puts it in force; its check value is shown, as lianfen keys list
shows it. It goes with --keys and a set.`,
		RunE: p.signedOn(func(cmd *cobra.Command, t *sim.Terminal) error {
			if t.Keys == nil || t.Keys.Initial != nil {
				return usage("next-key: a terminal without a master key has no next one; name the set of its keys: --keys")
			}
			for _, function := range []points.Function{points.KeyChange, points.SignOn} {
				req := t.Next(function)
				sim.Dress(&req)
				receipt, err := t.SendFor(cmd.Context(), &req, p.retry)
				if err != nil {
					return p.unheard(err)
				}
				if function == points.SignOn && receipt.Response.Reason.Approved() {
					p.inForce = t.Keys.Master
				}
				if function == points.SignOn || !receipt.Response.Reason.Approved() {
					return p.explain(cmd, receipt)
				}
			}
			return nil
		}),
	}
}

// enterPIN reads a PIN and puts it into req, enciphered.
func enterPIN(cmd *cobra.Command, t *sim.Terminal, req *points.Request) error {
	_, _ = fmt.Fprint(cmd.ErrOrStderr(), "PIN, not shown: ")
	pin, err := readHidden(cmd.InOrStdin(), bufio.NewReader(cmd.InOrStdin()))
	_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	if err != nil {
		return fmt.Errorf("PIN: %w", err)
	}
	defer clear(pin)
	return t.Keys.Enter(req, bytes.TrimRight(pin, "\r\n"))
}
