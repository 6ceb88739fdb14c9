package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// keysOf are the keys of a terminal, as the command line says; nil: it has none.
func (p *pos) keysOf(who sim.Identity) (*sim.Keys, error) {
	if p.keySet == "" {
		return nil, nil //nolint:nilnil // a terminal without keys is a terminal.
	}
	set, err := certs.ParseKeySet(p.keySet)
	if err != nil {
		return nil, usage("--keys: %w", err)
	}
	keys := &sim.Keys{Set: set, By: certs.XORMAC, Random: rand.Reader}
	if set == certs.KeySetAES128 || set == certs.KeySetAES256 {
		keys.By = certs.CMAC
	}
	err = p.keys.open(func(store *certs.Keystore) (err error) {
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
