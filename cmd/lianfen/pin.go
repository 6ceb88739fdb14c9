package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
)

func (a *admin) pin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pin", Short: "Set, change, unlock and show the PIN of a card", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.pinSet(), a.pinUnlock(), a.pinShow())
	return cmd
}

func (a *admin) pinSet() *cobra.Command {
	var change app.PINChange
	cmd := &cobra.Command{
		Use: "set", Short: "Set or change the PIN of a card, and unlock it", Args: none,
		Long: `Set or change the PIN of a card. The PIN is read from standard input, not shown where
that is a terminal, and leaves this command as a PIN block under a key of the keystore
that the configuration names: the switch keeps a value that it can be compared with, and
nobody has the PIN. --block takes a block that an issuer made instead.`,
		Example: `  lianfen admin pin set --card 6222020000000017 --operator li
  lianfen admin pin set --card 6222020000000017 --operator li --key zone-bank --block-format iso-0 --block 5BA6CD5374CA7366`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCard("card", string(change.Card)); err != nil {
				return err
			}
			if change.Block == "" {
				if err := a.enterPIN(cmd, &change); err != nil {
					return err
				}
			}
			return a.changePIN(cmd, change)
		},
	}
	pinFlags(cmd, &change)
	cmd.Flags().StringVar((*string)(&change.Block), "block", "", "PIN block in hexadecimal, instead of a PIN that is typed")
	keyFlag(cmd, &change.Format, "block-format", "layout of the block", []string{certs.PINFormat0.String(), certs.PINFormat3.String(), certs.PINFormat4.String()})
	cmd.Flags().StringVar(&change.Key, "key", pinEntryKey, "name of the key for zone-pin that the block is under")
	cmd.Flags().Var(decimal(&change.Tries, 0), "tries", "wrong PINs in a row that lock it, 3 to 6 (default as it was; 3 when new)")
	requireFlags(cmd, "card")
	return cmd
}

func pinFlags(cmd *cobra.Command, change *app.PINChange) {
	cmd.Flags().StringVar((*string)(&change.Card), "card", "", "card number")
	cmd.Flags().StringVar(&change.Operator, "operator", "", "who does it")
	cmd.Flags().StringVar(&change.Note, "note", "", "why")
}

// enterPIN reads a PIN and makes the block of it.
func (a *admin) enterPIN(cmd *cobra.Command, change *app.PINChange) error {
	c, err := config.Load(a.file, os.Environ(), a.sets)
	if err != nil {
		return usage("%w; name the configuration with --config: it says where the keystore is", err)
	}
	pan, err := points.ParsePAN(string(change.Card))
	if err != nil {
		return usage("--card: %w", err)
	}
	at := &keysAt{path: c.Keys.File, kek: c.Keys.KEK}
	return at.open(func(store *certs.Keystore) error {
		key, err := store.Use(change.Key, certs.ZonePIN, now())
		if err != nil {
			return fmt.Errorf("%w; make it: lianfen keys generate %s --usage %v", err, change.Key, certs.ZonePIN)
		}
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), "PIN, not shown: ")
		pin, err := readHidden(cmd.InOrStdin(), bufio.NewReader(cmd.InOrStdin()))
		_, _ = fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil {
			return fmt.Errorf("PIN: %w", err)
		}
		defer clear(pin)
		return encipherPIN(key, bytes.TrimRight(pin, "\r\n"), pan, change)
	})
}

// encipherPIN puts a PIN into change as a block under key.
func encipherPIN(key *certs.Key, pin []byte, pan points.PAN, change *app.PINChange) error {
	under, err := certs.NewPINKey(key)
	if err != nil {
		return err
	}
	format := certs.PINFormat4
	if key.Algorithm == certs.TDES {
		format = certs.PINFormat0
	}
	block, err := under.AppendPINBlock(nil, format, pin, pan, rand.Reader)
	if err != nil {
		return err
	}
	change.Block, change.Format = points.Secret(hex.EncodeToString(block)), format.String()
	return nil
}

func (a *admin) changePIN(cmd *cobra.Command, change app.PINChange) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	state, err := client.SetPIN(cmd.Context(), change)
	if err != nil {
		return err
	}
	return a.print(cmd, state, func() error {
		if state.Pending != "" {
			return sayPending(cmd, app.Done{RRN: state.RRN, Pending: state.Pending}, client)
		}
		if change.Block == "" {
			return say(cmd, "In the journal under RRN %s: the PIN of card %s can be tried again; %d wrong ones in a row lock it.", state.RRN, state.Card, state.Limit)
		}
		return say(cmd, "In the journal under RRN %s: card %s has a PIN, which %d wrong ones in a row lock.", state.RRN, state.Card, state.Limit)
	})
}

func (a *admin) pinUnlock() *cobra.Command {
	var change app.PINChange
	cmd := &cobra.Command{
		Use: "unlock", Short: "Let the PIN of a card be tried again", Args: none,
		Example: `  lianfen admin pin unlock --card 6222020000000017 --operator li --note "case 18"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCard("card", string(change.Card)); err != nil {
				return err
			}
			return a.changePIN(cmd, change)
		},
	}
	pinFlags(cmd, &change)
	requireFlags(cmd, "card")
	return cmd
}

func (a *admin) pinShow() *cobra.Command {
	var card string
	cmd := &cobra.Command{
		Use: "show", Short: "Tell whether a card has a PIN, and how often it was wrong", Args: none,
		Example: `  lianfen admin pin show --card 6222020000000017`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCard("card", card); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			state, err := client.PIN(cmd.Context(), app.CardNumber(card))
			if err != nil {
				return err
			}
			return a.print(cmd, state, func() error {
				switch {
				case !state.Set:
					return say(cmd, "Card %s has no PIN.", state.Card)
				case state.Locked:
					return say(cmd, "The PIN of card %s is locked: it was wrong %d times in a row.", state.Card, state.Tries)
				default:
					return say(cmd, "The PIN of card %s was wrong %d times in a row; %d lock it.", state.Card, state.Tries, state.Limit)
				}
			})
		},
	}
	cmd.Flags().StringVar(&card, "card", "", "card number")
	requireFlags(cmd, "card")
	return cmd
}
