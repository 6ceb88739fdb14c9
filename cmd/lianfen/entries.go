package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// One command for each kind of entry: it creates the entry, or changes the one
// with the same identity. A file of many is `admin load`.

func (a *admin) issuer() *cobra.Command {
	var e book.Issuer
	cmd := a.entry("issuer", "an issuer", `--id 10000001 --name "Harbour Air" --name-zh 海港航空`, func() app.Directory {
		return app.Directory{Issuers: []book.Issuer{e}}
	})
	cmd.Flags().Var(decimal((*uint64)(&e.ID), 0), "id", "institution number, up to 11 digits")
	nameFlags(cmd, &e.Name, &e.NameZH)
	statusFlag(cmd, &e.Status)
	cmd.Flags().StringVar(&e.Link, "link", "", "name of the link to its own host; empty: its ledger is hosted here")
	requireFlags(cmd, "id", "name")
	return a.keeping(cmd, func(d *app.Directory, left func(string) bool) {
		i := slices.IndexFunc(d.Issuers, func(known book.Issuer) bool { return known.ID == e.ID })
		if i < 0 {
			return
		}
		keep(left("name-zh"), &e.NameZH, d.Issuers[i].NameZH)
		keep(left("link"), &e.Link, d.Issuers[i].Link)
	})
}

func (a *admin) acquirer() *cobra.Command {
	var e book.Acquirer
	cmd := a.entry("acquirer", "an acquirer", `--id 20000001 --name "East Acquiring"`, func() app.Directory {
		return app.Directory{Acquirers: []book.Acquirer{e}}
	})
	cmd.Flags().Var(decimal((*uint64)(&e.ID), 0), "id", "institution number, up to 11 digits")
	nameFlags(cmd, &e.Name, &e.NameZH)
	statusFlag(cmd, &e.Status)
	requireFlags(cmd, "id", "name")
	return a.keeping(cmd, func(d *app.Directory, left func(string) bool) {
		i := slices.IndexFunc(d.Acquirers, func(known book.Acquirer) bool { return known.ID == e.ID })
		if i >= 0 {
			keep(left("name-zh"), &e.NameZH, d.Acquirers[i].NameZH)
		}
	})
}

func (a *admin) program() *cobra.Command {
	var e book.Program
	cmd := a.entry("program", "a programme with its rules", `--id 901 --issuer 10000001 --name "Harbour Miles" --valid-months 24 --open-on-earn`, func() app.Directory {
		return app.Directory{Programs: []book.Program{e}}
	})
	f, r := cmd.Flags(), &e.Rules
	f.Var(decimal((*uint16)(&e.ID), 0), "id", "code, 900 to 998 (DE49)")
	f.Var(decimal((*uint64)(&e.Issuer), 0), "issuer", "institution number of its issuer")
	nameFlags(cmd, &e.Name, &e.NameZH)
	statusFlag(cmd, &e.Status)
	f.Var(decimal(&e.Scale, 0), "scale", "decimals that a person sees, 0 to 4")
	f.BoolVar(&e.Alliance, "alliance", false, "alliance points (DE60.7 065) rather than the issuer's own (048)")
	f.Var(decimal(&r.ValidMonths, 0), "valid-months", "months that points live; 0: for ever")
	f.BoolVar(&r.ExpiryAtMonth, "expiry-at-month", false, "round the expiry up to the end of its month")
	f.Var(decimal(&r.PendingDays, 0), "pending-days", "days before earned points can be spent")
	f.Var(decimal(&r.GraceDays, 30), "grace-days", "days that refunded points live when they have lapsed meanwhile")
	f.Var(decimal(&r.HoldDays, 0), "hold-days", "days that a pre-authorisation lives; 0: 30")
	f.Var(decimal((*int64)(&r.MinRedeem), 0), "min-redeem", "least that can be redeemed at once")
	f.Var(decimal((*int64)(&r.MaxAmount), 0), "max-amount", "most per transaction; 0: no limit")
	f.Var(decimal((*int64)(&r.MaxRedeemDay), 0), "max-redeem-day", "most that a member redeems on one business date; 0: no limit")
	f.Var(decimal(&r.MaxRedeemCnt, 0), "max-redeem-count", "redemptions of a member on one business date; 0: no limit")
	f.BoolVar(&r.OpenOnEarn, "open-on-earn", false, "the first earn opens a member's account")
	f.BoolVar(&r.Debt, "debt", false, "undoing an earn may leave a debt")
	f.BoolVar(&r.Transfer, "transfer", false, "members may give points to each other")
	f.Var(decimal((*int64)(&r.TransferMax), 0), "transfer-max", "most per transfer; 0: no limit")
	f.Var(decimal((*int64)(&r.TransferDay), 0), "transfer-day", "most that a member gives on one business date; 0: no limit")
	f.Var(decimal(&r.DecayPart, 0), "decay-basis-points", "what points lose at each decay, in units of 1/10000 of what is left; 0: nothing")
	f.Var(decimal(&r.DecayAfter, 0), "decay-after-months", "months in which new points lose nothing")
	f.Var(decimal(&r.DecayEvery, 0), "decay-every-months", "months from one decay to the next; at least 1 where points decay")
	f.Var(decimal((*uint16)(&r.Tier), 0), "tier", "programme of the same issuer whose points count for status: an earn gives as many of them; 0: none")
	f.Var(decimal((*int64)(&r.PINFrom), 0), "pin-from", "amount from which spending needs a PIN; 0: never")
	f.BoolVar(&r.Qualifying, "qualifying", false, "points that count for status: nobody can redeem, hold or transfer them")
	requireFlags(cmd, "id", "issuer", "name")
	cmd.Long = cmd.Short + ". Of a programme that is there, what is left out stays as it is."
	put := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := a.keepEntry(cmd, func(d *app.Directory) {
			if i := slices.IndexFunc(d.Programs, func(p book.Program) bool { return p.ID == e.ID }); i >= 0 {
				e = d.Programs[i]
			}
		})
		if err != nil {
			return err
		}
		return put(cmd, args)
	}
	return cmd
}

// keepEntry takes over, from an entry that is there, what the command line leaves out: a
// change of one rule must not reset the others, nor a change of status the keys.
func (a *admin) keepEntry(cmd *cobra.Command, take func(*app.Directory)) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	directory, err := client.Directory(cmd.Context())
	if err != nil {
		return err
	}
	said := make(map[string]string)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			said[f.Name] = f.Value.String()
		}
	})
	take(&directory)
	for name, value := range said {
		if err := cmd.Flags().Set(name, value); err != nil {
			return usage("--%s: %w", name, err)
		}
	}
	return nil
}

func (a *admin) merchant() *cobra.Command {
	var e book.Merchant
	cmd := a.entry("merchant", "a merchant", `--id M00000000000001 --acquirer 20000001 --name "Pier Cafe" --program 901 --program 903`, func() app.Directory {
		return app.Directory{Merchants: []book.Merchant{e}}
	})
	cmd.Flags().TextVar(&e.ID, "id", points.MerchantID{}, "card acceptor identification, up to 15 characters (DE42)")
	cmd.Flags().Var(decimal((*uint64)(&e.Acquirer), 0), "acquirer", "institution number of its acquirer")
	nameFlags(cmd, &e.Name, &e.NameZH)
	cmd.Flags().Var(decimal(&e.MCC, 0), "mcc", "merchant category code")
	cmd.Flags().Var(&programList{&e.Programs}, "program", "programme that it takes, the first choice first; may be repeated")
	cmd.Flags().Func("tender", "terms on which programmes pay for one sale together, in order: 901, 902:3/2 (three points of 902 pay for two; default: one programme pays)", func(text string) (err error) {
		e.Tender, err = router.ParseTender(text)
		return err
	})
	statusFlag(cmd, &e.Status)
	requireFlags(cmd, "id", "acquirer", "name", "program")
	return a.keeping(cmd, func(d *app.Directory, left func(string) bool) {
		i := slices.IndexFunc(d.Merchants, func(known book.Merchant) bool { return known.ID == e.ID })
		if i < 0 {
			return
		}
		keep(left("name-zh"), &e.NameZH, d.Merchants[i].NameZH)
		keep(left("mcc"), &e.MCC, d.Merchants[i].MCC)
		keep(left("tender"), &e.Tender, d.Merchants[i].Tender)
	})
}

// keep takes over what is there already when a flag is left out.
func keep[T any](left bool, to *T, known T) {
	if left {
		*to = known
	}
}

// keeping has fill take over, from an entry that is there, what the command line leaves
// out: a change of the name must not empty the other one.
func (a *admin) keeping(cmd *cobra.Command, fill func(d *app.Directory, left func(flag string) bool)) *cobra.Command {
	cmd.Long = cmd.Short + ". Of one that is there, what is left out stays as it is; an empty value takes it away."
	put := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		directory, err := client.Directory(cmd.Context())
		if err != nil {
			return err
		}
		fill(&directory, func(flag string) bool { return !cmd.Flags().Changed(flag) })
		return put(cmd, args)
	}
	return cmd
}

func (a *admin) terminal() *cobra.Command {
	var e book.Terminal
	cmd := a.entry("terminal", "a terminal", `--id T0000001 --merchant M00000000000001`, func() app.Directory {
		return app.Directory{Terminals: []book.Terminal{e}}
	})
	cmd.Flags().TextVar(&e.ID, "id", points.TerminalID{}, "terminal identification, up to 8 characters (DE41)")
	cmd.Flags().TextVar(&e.Merchant, "merchant", points.MerchantID{}, "its merchant (DE42)")
	cmd.Flags().TextVar(&e.MAC, "mac", book.MAC(0), "how its messages are authenticated, with keys of a sign-on: none, cmac, cup-ecb, hmac-sha256")
	cmd.Flags().BoolVar(&e.MACOptional, "mac-optional", false, "take messages without a MAC too, while it changes over")
	cmd.Flags().TextVar(&e.DUKPT, "dukpt", book.InitialKey{}, "its keys are derived for each message (ANSI X9.24-3): the 16 hexadecimal digits of its initial key; with mac cmac")
	cmd.Flags().TextVar(&e.PIN, "pin", book.PINTaken, "whether it has to send a PIN: taken, required")
	statusFlag(cmd, &e.Status)
	requireFlags(cmd, "id", "merchant")
	cmd.Long = cmd.Short + ". Of a terminal that is there, what is left out stays as it is."
	put := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := a.keepEntry(cmd, func(d *app.Directory) {
			if i := slices.IndexFunc(d.Terminals, func(t book.Terminal) bool { return t.ID == e.ID }); i >= 0 {
				e = d.Terminals[i]
			}
		})
		if err != nil {
			return err
		}
		return put(cmd, args)
	}
	return cmd
}

func (a *admin) route() *cobra.Command {
	var e book.Route
	cmd := a.entry("route", "a route for the cards that begin with a prefix", `--prefix 622202`, func() app.Directory {
		return app.Directory{Routes: []book.Route{e}}
	})
	cmd.Flags().StringVar(&e.Prefix, "prefix", "", "first digits of the card, 1 to 11")
	cmd.Flags().Var(decimal((*uint64)(&e.Issuer), 0), "issuer", "issuer; 0: the programme's own")
	cmd.Flags().Var(decimal((*uint16)(&e.Only), 0), "program", "for this programme only; 0: any")
	cmd.Flags().Func("links", "links to an issuer with a ledger of its own, in order of preference: main*3+second, reserve (default: the issuer's link)", func(text string) (err error) {
		e.Links, err = router.ParseLinks(text)
		return err
	})
	requireFlags(cmd, "prefix")
	return cmd
}

func (a *admin) member() *cobra.Command {
	var e app.Member
	var cards []string
	cmd := a.entry("member", "a member, with programmes to join and cards", `--id 1001 --program 901 --card 6222020000000000017`, func() app.Directory {
		for _, number := range cards {
			e.Cards = append(e.Cards, app.Card{Number: app.CardNumber(number)})
		}
		return app.Directory{Members: []app.Member{e}}
	})
	cmd.Flags().Var(decimal((*uint64)(&e.ID), 0), "id", "member number")
	cmd.Flags().StringVar(&e.Ref, "ref", "", "the issuer's own reference; no personal data")
	cmd.Flags().Var(&programList{&e.Programs}, "program", "programme to join; may be repeated")
	cmd.Flags().StringSliceVar(&cards, "card", nil, "card number; may be repeated")
	statusFlag(cmd, &e.Status)
	requireFlags(cmd, "id")
	return cmd
}

func (a *admin) card() *cobra.Command {
	var c app.Card
	var member uint64
	cmd := &cobra.Command{
		Use: "card", Short: "Give a member a card, or change a card's status", Args: none,
		Example: `  lianfen admin card --number 6222020000000000017 --member 1001 --status lost`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCard("number", string(c.Number)); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			who, err := client.Accounts(cmd.Context(), app.Holder{Member: points.MemberID(member)})
			if err != nil {
				return err
			}
			return a.put(cmd, app.Directory{Members: []app.Member{{Member: book.Member{ID: who.Member, Status: who.Status}, Cards: []app.Card{c}}}})
		},
	}
	cmd.Flags().StringVar((*string)(&c.Number), "number", "", "card number")
	cmd.Flags().Var(decimal(&member, 0), "member", "member number")
	cmd.Flags().Var(decimal(&c.Expiry, 0), "expiry", "last month of use, YYMM; 0: none")
	statusFlag(cmd, &c.Status)
	requireFlags(cmd, "number", "member")
	return cmd
}

// entry is the command that puts one entry.
func (a *admin) entry(name, what, example string, directory func() app.Directory) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: "Create " + what + ", or change it", Args: none,
		Example: "  lianfen admin " + name + " " + example,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.put(cmd, directory()) },
	}
}

func nameFlags(cmd *cobra.Command, name, chinese *string) {
	cmd.Flags().StringVar(name, "name", "", "name")
	cmd.Flags().StringVar(chinese, "name-zh", "", "name in Chinese")
}
