package main

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

func newExchange() *cobra.Command {
	a := new(admin)
	cmd := a.groupOf(&cobra.Command{
		Use: "exchange", Short: "Swaps (积分互换): points of one programme into another's, at a published rate", Args: none,
		Long: `Swaps of a member's points into another programme's, at the BUY rate of the one and the
SELL rate of the other. A quote promises figures for a short time and holds nothing; a lock
holds the points and keeps the figures for longer; a swap executes a quote, once, at its own
figures. Rates are proposed with lianfen rates, the terms beside them with lianfen exchange
terms. What settlement makes of swaps nets in the same night as redemptions.`,
		Example: `  lianfen exchange quote --member 10001 --from 901 --into 902 --in 5000
  lianfen exchange swap 000000001234 --key order-77`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.AddCommand(a.exchangeQuote(),
		a.exchangeAct("lock", "Hold the points of a quote and keep its figures for longer", (*app.Client).LockSwap),
		a.exchangeAct("swap", "Execute a quote, locked or not, once", (*app.Client).Swap),
		a.exchangeAct("cancel", "End a quote or a lock that is not executed", (*app.Client).CancelSwap),
		a.exchangeAct("show", "Show where a swap is", (*app.Client).ShowSwap),
		a.exchangeQueue(), a.exchangeResolve(), a.exchangeTerms())
	return cmd
}

// people are the decimals that people read points in; of a swap they are asked for before it
// is done, so that nothing can fail between that and its answer.
func (a *admin) people(cmd *cobra.Command, client *app.Client) (scales, error) {
	if a.asJSON {
		return nil, nil
	}
	return scalesOf(cmd, client)
}

// swapWords are the words of a swap for people, in each language; those of its states stand
// beside the names that JSON has.
func swapWords(lang string) func(english, chinese string) string {
	return func(word, zh string) string {
		if lang == chinese {
			return zh
		}
		return word
	}
}

// swapState is a swap's state for people.
func swapState(s *app.SwapState, lang string) string {
	state, say := s.State, swapWords(lang)
	if lang == chinese {
		names := book.ChineseSwapStates()
		if name, ok := names[state]; ok {
			state = name
		}
	}
	switch leg := s.Leg; {
	case leg != nil && leg.Denied:
		state += say(", denied", "，对方否认")
	case leg != nil && leg.Undoing:
		state += say(", stands", "，对方已入账")
	}
	return state
}

// swapTable shows a swap to people.
func swapTable(s *app.SwapState, units scales, zone *time.Location, lang string) *table {
	say := swapWords(lang)
	label := func(word, zh string) string { // Of five characters, each two columns wide, so that lines meet.
		return say(word, zh+strings.Repeat("\u3000", max(0, 5-utf8.RuneCountInString(zh))))
	}
	of := func(program points.ProgramID, amount points.Amount) string {
		return fmt.Sprintf(say("%s of programme %d", "%s(积分计划%d)"), units.amount(program, amount), program)
	}
	t := new(table)
	t.row(label("quote", "报价号"), s.Quote)
	t.row(label("state", "状态"), swapState(s, lang))
	t.row(label("member", "会员"), fmt.Sprint(s.Member))
	t.row(label("handed in", "换出"), of(s.From, s.In))
	t.row(label("handed out", "换入"), of(s.Into, s.Out))
	if s.Bonus != 0 {
		t.row(label("bonus", "奖励"), of(s.Into, s.Bonus))
	}
	t.row(label("value", "价值"), fmt.Sprintf(say("%s QZP, of that fee %s, cost %s, rest %s", "%s标准积分，其中手续费%s，成本%s，尾差%s"),
		s.Value.Decimal(qzpScale), s.Fee.Decimal(qzpScale), s.Cost.Decimal(qzpScale), s.Rest.Decimal(qzpScale)))
	t.row(label("rates", "兑换比例"), fmt.Sprintf(say("BUY version %d, SELL version %d", "买入版本%d，卖出版本%d"), s.Buy, s.Sell))
	t.row(label("good before", "有效至"), localTime(s.Expires, zone))
	for _, row := range [...]struct{ name, value string }{{label("RRN", "参考号"), s.RRN}, {label("locked by", "锁定参考号"), s.Locked}, {label("executed by", "执行参考号"), s.Done}} {
		if row.value != "" {
			t.row(row.name, row.value)
		}
	}
	if leg := s.Leg; leg != nil {
		switch {
		case leg.Denied:
			t.row(label("disagreement", "分歧"), say("the issuer says that nothing stands there, though the swap is done: ask it, then lianfen exchange resolve",
				"互换已完成，但发卡方称其未入账：请向发卡方核实，再用lianfen exchange resolve处理"))
		case leg.Undoing:
			t.row(label("disagreement", "分歧"), say("it stands at the issuer though the swap was given up; the issuer is asked to reverse it",
				"互换已放弃，但发卡方已入账；正请发卡方冲正"))
		}
		t.row(label("at the issuer", "发卡方"), fmt.Sprintf(say("%v of %d, known there by DE37 %s", "%v，机构%d，对方参考号(DE37)%s"), leg.Act, leg.Issuer, leg.RRN))
		if leg.Asked != 0 {
			t.row(label("asked", "询问"), fmt.Sprintf(say("%v, again after %s; %d so far", "%v，下次%s，已询问%d次"), leg.Asked, localTime(leg.Next, zone), leg.Attempts))
		}
		if leg.GivenUp != "" && leg.Ended == nil {
			t.row(label("given up", "放弃时间"), localTime(leg.GivenUp, zone)+say("; only the issuer's answer to that counts since", "；此后只以发卡方对此的应答为准"))
		} else if leg.GivenUp != "" {
			t.row(label("given up", "放弃时间"), localTime(leg.GivenUp, zone))
		}
		if end := leg.Ended; end != nil {
			t.row(label("decided", "结论"), fmt.Sprintf(say("%s by %s; RRN %s", "%s，%s；参考号%s"), localTime(end.At, zone), swapEnd(end, say), end.RRN))
		}
	}
	if s.Repeated {
		t.row(label("repeated", "重复请求"), say("this is the first answer again; nothing was done now", "与首次应答相同，本次未作处理"))
	}
	return t
}

// refusedIn is a refusal in the language that the member reads. What is told in English alone
// stands behind its reason in Chinese.
func refusedIn(lang string, err error) error {
	reason, zh := points.ReasonOf(err), points.ChineseOf(err)
	switch {
	case lang != chinese, reason == points.InternalError:
		return err
	case zh == "":
		zh = fmt.Sprintf("%s（%v）", reason.Chinese(), err)
	}
	return points.InBoth(reason, zh, zh)
}

// swapEnd tells what has decided the leg of a swap, in the language that say chooses.
func swapEnd(end *app.SwapEnd, say func(en, zh string) string) string {
	switch {
	case end.Operator != "":
		text := fmt.Sprintf(say("%s and %s", "由%s和%s人工处理"), end.Operator, end.Second)
		if end.Note != "" {
			text += fmt.Sprintf(say(" (%s)", "（%s）"), end.Note)
		}
		if end.Answer.Approved() {
			return text + say(": it stands", "：对方已入账")
		}
		return text + say(": it is gone", "：对方未入账")
	case !end.Sent:
		return say("the switch, which could not send it: "+end.Answer.English(), "未能发出："+end.Answer.Chinese())
	default:
		return fmt.Sprintf(say("its issuer, whose answer to %v was DE39 %s: ", "发卡方对%v应答%s："), end.Asked, end.DE39) + say(end.Answer.English(), end.Answer.Chinese())
	}
}

// languageFlag is in which language people read a swap.
func languageFlag(cmd *cobra.Command, lang *string) {
	*lang = english
	cmd.Flags().Var((*tongue)(lang), "lang", "language of the table: en or zh")
}

// callerFlags are those of whoever calls the desk.
func callerFlags(cmd *cobra.Command, key, operator *string) {
	cmd.Flags().StringVar(key, "key", "", "a name of your own for this call, yours alone: repeated with it by the same --operator, it has one effect and one answer")
	cmd.Flags().StringVar(operator, "operator", "", "who asks; left out where operators sign in")
}

// quotable refuses what no terms and no rates could quote.
func quotable(asked *app.SwapAsked) error {
	if (asked.In == 0) == (asked.Out == 0) {
		return usage("want --in or --out, one of both, more than 0")
	}
	for flag, amount := range map[string]points.Amount{"in": asked.In, "out": asked.Out} {
		if amount < 0 || amount > points.MaxAmount {
			return usage("--%s %d: want 1 to %d, in smallest units", flag, amount, points.MaxAmount)
		}
	}
	if asked.From == asked.Into {
		return usage("--from and --into are both programme %d: want two", asked.From)
	}
	return nil
}

func (a *admin) exchangeQuote() *cobra.Command {
	var asked app.SwapAsked
	var lang string
	cmd := &cobra.Command{
		Use: "quote", Short: "Quote what a swap gives; nothing is held for it", Args: none,
		Long: `Quote what a swap gives, where it could be executed now: --in is what is handed in, or
--out what is to be handed out at least, for the least that is to be handed in. Where the
issuer of one of the two programmes keeps its own ledger it knows the member by --card.
Such a swap is executing until the issuer has answered; show tells what came of it.`,
		Example: `  lianfen exchange quote --member 10001 --from 901 --into 902 --in 5000
  lianfen exchange quote --member 10001 --card 6222020000000018 --from 901 --into 910 --in 5000`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCard("card", string(asked.Card)); err != nil {
				return err
			}
			if err := quotable(&asked); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			units, err := a.people(cmd, client)
			if err != nil {
				return err
			}
			s, err := client.QuoteSwap(cmd.Context(), asked)
			if err != nil {
				return refusedIn(lang, err)
			}
			return a.print(cmd, &s, func() error { return swapTable(&s, units, client.Zone(), lang).write(cmd.OutOrStdout()) })
		},
	}
	f := cmd.Flags()
	f.Var(decimal(&asked.Member, 0), "member", "whose points")
	f.StringVar((*string)(&asked.Card), "card", "", "the member's card, by which an issuer with its own ledger knows the member")
	f.Var(decimal(&asked.From, 0), "from", "programme handed in")
	f.Var(decimal(&asked.Into, 0), "into", "programme handed out")
	f.Var(decimal(&asked.In, 0), "in", "points handed in, in smallest units")
	f.Var(decimal(&asked.Out, 0), "out", "points wanted at least, in smallest units")
	f.Var(decimal(&asked.LockSeconds, 0), "lock-seconds", "for how long a lock is wanted, where the terms take a fee for it")
	callerFlags(cmd, &asked.CallID, &asked.Operator)
	languageFlag(cmd, &lang)
	requireFlags(cmd, "member", "from", "into")
	return cmd
}

// exchangeAct is a verb about a quote.
func (a *admin) exchangeAct(verb, short string, call func(*app.Client, context.Context, app.SwapNamed) (app.SwapState, error)) *cobra.Command {
	var named app.SwapNamed
	var lang string
	cmd := &cobra.Command{
		Use: verb + " QUOTE", Short: short, Args: one("the quote, as lianfen exchange quote has printed it"),
		Example: "  lianfen exchange " + verb + " 000000001234",
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			units, err := a.people(cmd, client)
			if err != nil {
				return err
			}
			named.Quote = fullRRN(args[0])
			s, err := call(client, cmd.Context(), named)
			if err != nil {
				return refusedIn(lang, err)
			}
			return a.print(cmd, &s, func() error { return swapTable(&s, units, client.Zone(), lang).write(cmd.OutOrStdout()) })
		},
	}
	if verb != "show" {
		callerFlags(cmd, &named.CallID, &named.Operator)
	}
	languageFlag(cmd, &lang)
	return cmd
}

func (a *admin) exchangeQueue() *cobra.Command {
	var lang string
	cmd := &cobra.Command{
		Use: "queue", Short: "List swaps under way: locked, waiting for an issuer, left to operators", Args: none,
		Long: `List swaps under way: those that are locked, the one whose time ends first first, and behind
them those whose issuer keeps its own ledger and has to decide, the one that is asked next
first. One that is manual waits for lianfen exchange resolve too; its points stay held. One
that is done and denied is so by operators' word, and its issuer says that nothing stands
there: ask it, and resolve it again. One that was given up and stands is reversed there.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			list, err := client.SwapQueue(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() error {
				word := swapWords(lang)
				if len(list) == 0 {
					return say(cmd, "%s", word("No swap is under way.", "没有进行中的互换。"))
				}
				units, err := scalesOf(cmd, client)
				if err != nil {
					return err
				}
				s := newSheet(word("QUOTE", "报价号"), word("STATE", "状态"), word(">MEMBER", ">会员"), word(">FROM", ">换出计划"), word(">IN", ">换出"),
					word(">INTO", ">换入计划"), word(">OUT", ">换入"), word(">BONUS", ">奖励"), word("GOOD BEFORE", "有效至"),
					word("ISSUER'S", "对方参考号"), word(">ASKED", ">询问次数"), word("ASKED NEXT", "下次询问"))
				for i := range list {
					w, until := &list[i], localTime(list[i].Expires, client.Zone())
					rrn, asked, next := "", "", ""
					if w.Leg != nil {
						until, rrn, asked, next = "", w.Leg.RRN, fmt.Sprint(w.Leg.Attempts), localTime(w.Leg.Next, client.Zone())
					}
					s.row(w.Quote, swapState(w, lang), w.Member, w.From, units.amount(w.From, w.In), w.Into, units.amount(w.Into, w.Out), units.amount(w.Into, w.Bonus), until, rrn, asked, next)
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
	languageFlag(cmd, &lang)
	return cmd
}

func (a *admin) exchangeResolve() *cobra.Command {
	return a.resolution(&cobra.Command{
		Use: "resolve QUOTE", Short: "End a swap that is manual, as its issuer says on being asked; a second person approves",
		Long: `End a swap that an issuer with its own ledger has not decided. Ask the issuer first, by the
DE37 that show prints: does the credit, or debit, stand in its ledger, or is it gone?

               --stands                            --gone
  manual       done: what is held is spent, or     reversed: what is held is given back
               what was promised is given
  done         nothing: it is refused              the issuer has reversed it since: undone
                                                   here by postings of their own
  done,        it stays done: the issuer was       undone here, as above
  denied       wrong to deny it

Say --gone only of what the issuer will refuse from now on, whatever still arrives there.`,
		Example: `  lianfen exchange resolve 000000001234 --gone --operator li --second wang --note "mail of 3 March"`,
		Args:    one("the quote, as lianfen exchange queue has printed it"),
	})
}

func (a *admin) exchangeTerms() *cobra.Command {
	cmd := &cobra.Command{
		Use: "terms", Short: "Terms of swaps: limits, pools, origins, expiry, campaigns, with dates and two persons", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.termsPropose(), a.approveVersion("exchange terms"), a.termsList())
	return cmd
}

func (a *admin) termsPropose() *cobra.Command {
	var path string
	var s app.SwapTermsSetting
	cmd := &cobra.Command{
		Use: "propose", Short: "Propose the swap terms of a file", Args: none,
		Long: `Propose the swap terms of a file, a list with one entry for each programme. A limit that is
left out is none. Beside rates with which somebody could go round with a gain, terms are
refused, and so are rates.

  - program: 901
    from: 2026-03-03 00:00
    min_in: 1000            # of points handed in
    max_in: 500000
    step_in: 100
    user_day: 200000
    user_month: 1000000
    user_year: 5000000
    pool_in_day: 100000000  # of all members together
    fee_min: 100            # smallest units of the standard point
    lots_allowed: [earned]  # earned, bought, swapped, bonus, adjusted
    recipient_year: 5000000 # of points handed out
    pool_out_day: 100000000
    expiry_rule: programme  # or inherit, or fixed with expiry_days
    swap_lock_days: 5       # so long what is handed out cannot be swapped on
    bonus_per: 60000        # a campaign: for each 60,000 points 5,000 more
    bonus_add: 5000
    bonus_budget: 50000000  # of the sponsor
    volume_bonus:           # beside it larger steps, each a multiple of the one before
      - {per: 120000, add: 12000}
    tier_bonus:             # and more for who has so many tier-qualifying points
      - {from: 10000, ppm: 50000}
    quote_seconds: 30
    lock_seconds: 600
    lock_fee_ppm: 500       # of the value, for each minute of a lock; --lock-seconds asks for one`,
		Example: `  lianfen exchange terms propose --file terms.yaml --note "spring" --operator li --second wang`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if s.Terms, err = readFile(path, app.ReadSwapTerms); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.ProposeSwapTerms(cmd.Context(), s)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return a.print(cmd, done, func() error {
				for _, d := range done {
					if err := sayVersion(cmd, d, client, "version of the terms"); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&path, "file", "", "YAML file of swap terms")
	cmd.Flags().StringVar(&s.Note, "note", "", "why")
	twoNames(cmd, &s.Operator, &s.Second)
	requireFlags(cmd, "file", "note")
	return cmd
}

func (a *admin) termsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all versions of the swap terms; --json shows all they say", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			list, err := client.SwapTerms(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() error {
				if len(list) == 0 {
					return say(cmd, "There are no terms of swaps: nothing is swapped before there are some.")
				}
				s := newSheet(">PROGRAMME", ">VERSION", "FROM", ">MIN IN", ">MAX IN", ">USER DAY", "LOTS", "EXPIRY", ">LOCK S", "PROPOSED BY", "APPROVED BY", "NOW")
				for i := range list {
					t, now := &list[i], ""
					if t.InForce {
						now = "in force"
					}
					s.row(t.Program, t.Version, localTime(t.From, client.Zone()), limitOf(t.MinIn), limitOf(t.MaxIn), limitOf(t.UserDay),
						strings.Join(t.LotsAllowed, ","), t.Expiry, t.LockSeconds, t.Maker, t.Checker, now)
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
}

func limitOf(a points.Amount) string {
	if a == 0 {
		return "*"
	}
	return fmt.Sprint(int64(a))
}
