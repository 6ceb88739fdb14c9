package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// keysOf are the keys of a terminal, of the set that a script names, else of --keys;
// nil: it has none.
func (p *pos) keysOf(who sim.Identity, named string) (*sim.Keys, error) {
	word := cmp.Or(named, p.keySet)
	if word == "" {
		return nil, nil //nolint:nilnil // a terminal without keys is a terminal.
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
	keys := &sim.Keys{Set: set, By: certs.XORMAC, Random: rand.Reader}
	if set == certs.KeySetAES128 || set == certs.KeySetAES256 {
		keys.By = certs.CMAC
	}
	err := at.open(func(store *certs.Keystore) (err error) {
		name := certs.TerminalMasterName(who.Merchant, who.Terminal)
		if keys.Master, err = store.Use(name, certs.TerminalMaster, now()); err != nil {
			return fmt.Errorf("%w; make it: lianfen keys generate %s --usage %v", err, name, certs.TerminalMaster)
		}
		return nil
	})
	return keys, err
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
