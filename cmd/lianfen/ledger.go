package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

func newLedger() *cobra.Command {
	l := new(admin)
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Look into the ledger: balances, statements, records",
		Args:  none,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&l.file, "config", config.FileName, "configuration file of the running switch; it names the socket")
	cmd.PersistentFlags().StringVar(&l.socket, "socket", "", "admin socket, instead of the configuration's")
	cmd.PersistentFlags().BoolVar(&l.asJSON, "json", false, "print JSON")
	l.doorFlags(cmd)
	cmd.AddCommand(l.ledgerBalance(), l.ledgerStatement(), l.ledgerShow(), l.ledgerFind(), l.ledgerReindex())
	cmd.AddCommand(ledgerFiles(l)...)
	return cmd
}

func (a *admin) ledgerBalance() *cobra.Command {
	var who app.Holder
	var program uint16
	cmd := &cobra.Command{
		Use: "balance", Short: "Show what a member has, lot by lot", Args: none,
		Long: `Show what a member has, lot by lot. FREE can be spent on the business date; PENDING is
neither to be spent nor held: not yet usable, or over and not yet booked to breakage.
The lots are free and pending points together.`,
		Example: `  lianfen ledger balance --card 6222020000000000017 --program 901`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCard("card", string(who.Card)); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			accounts, err := client.Accounts(cmd.Context(), who)
			if err != nil {
				return err
			}
			if program != 0 {
				accounts.Accounts = only(accounts.Accounts, points.ProgramID(program))
			}
			return a.print(cmd, accounts, func() error {
				if len(accounts.Accounts) == 0 {
					return say(cmd, "Member %d has no account there.", accounts.Member)
				}
				if err := balanceSheet(accounts).write(cmd.OutOrStdout()); err != nil {
					return err
				}
				return sayAsOf(cmd, accounts.AsOf, accounts.Date)
			})
		},
	}
	holderFlags(cmd, &who)
	cmd.Flags().Var(decimal(&program, 0), "program", "only this programme")
	return cmd
}

// only leaves the accounts in one programme.
func only(accounts []app.Account, program points.ProgramID) []app.Account {
	left := []app.Account{}
	for _, account := range accounts {
		if account.Program == program {
			left = append(left, account)
		}
	}
	return left
}

func balanceSheet(accounts app.Accounts) *sheet {
	s := newSheet("MEMBER", "PROGRAMME", "NAME", ">FREE", ">PENDING", ">HELD", ">DEBT", ">LOT", "USABLE FROM", "UNTIL", "NEXT DECAY")
	for _, account := range accounts.Accounts {
		read := func(amount points.Amount) string { return amount.Decimal(int(account.Scale)) }
		s.row(accounts.Member, account.Program, account.Name, read(account.Free), read(account.Pending), read(account.Held), read(account.Debt), "", "", "", "")
		for _, lot := range account.Lots {
			s.row("", "", "", "", "", "", "", read(lot.Amount), dateOr(lot.ActiveOn, "now"), dateOr(lot.ExpiresOn, "for ever"), dateOr(lot.DecaysOn, ""))
		}
	}
	return s
}

func dateOr(date points.BusinessDate, otherwise string) string {
	if date == 0 {
		return otherwise
	}
	return date.String()
}

func (a *admin) ledgerStatement() *cobra.Command {
	var q app.StatementQuery
	var program uint16
	var dates period
	lang := english
	cmd := &cobra.Command{
		Use: "statement", Short: "Show what happened to a member's points, newest first", Args: none,
		Example: "  lianfen ledger statement --card 6222020000000000017 --from 2026-03-01 --limit 20\n" +
			"  lianfen ledger statement --member 1001 --program 901 --lang zh",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCard("card", string(q.Card)); err != nil {
				return err
			}
			if err := dates.into(&q.Range); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			q.Program = points.ProgramID(program)
			s, err := client.Statement(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.print(cmd, s, func() error { return printStatement(cmd, s, languages()[lang], client.Zone()) })
		},
	}
	holderFlags(cmd, &q.Holder)
	cmd.Flags().Var(decimal(&program, 0), "program", "only this programme")
	cmd.Flags().BoolVar(&q.All, "all", false, "what moved nothing too: declines, enquiries, changes of the member")
	cmd.Flags().Var((*tongue)(&lang), "lang", "language of the table: en or zh")
	rangeFlags(cmd, &q.Range, &dates)
	return cmd
}

// period is a range of business dates as somebody typed it.
type period struct {
	from, to, on string
}

// into reads the dates into r.
func (p *period) into(r *app.Range) error {
	if r.Limit < 1 || r.Limit > ledger.MaxPageLimit {
		return usage("--limit %d: want 1 to %d", r.Limit, ledger.MaxPageLimit)
	}
	r.Next = fullRRN(r.Next)
	if p.on != "" {
		if p.from != "" || p.to != "" {
			return usage("--date is one day: leave --from and --to out")
		}
		p.from, p.to = p.on, p.on
	}
	for _, side := range []struct {
		flag, text string
		date       *points.BusinessDate
	}{{"from", p.from, &r.From}, {"to", p.to, &r.To}} {
		if side.text == "" {
			continue
		}
		date, err := points.ParseBusinessDate(side.text)
		if err != nil {
			return usage("--%s: %w", side.flag, err)
		}
		*side.date = date
	}
	return nil
}

func rangeFlags(cmd *cobra.Command, r *app.Range, dates *period) {
	cmd.Flags().StringVar(&dates.from, "from", "", "first business date, such as 2026-03-01")
	cmd.Flags().StringVar(&dates.to, "to", "", "last business date")
	cmd.Flags().Var(decimal(&r.Limit, ledger.DefaultPageLimit), "limit", "at most so many lines, 1 to 1000; --next goes on")
	cmd.Flags().BoolVar(&r.OldestFirst, "oldest-first", false, "begin with the oldest")
	cmd.Flags().StringVar(&r.Next, "next", "", "go on at this RRN, which the page before named")
}

func (a *admin) ledgerShow() *cobra.Command {
	return &cobra.Command{
		Use: "show RRN", Short: "Show one journal record: outcome, postings, lots, balances afterwards",
		Long: `Show one journal record: outcome, postings, lots, balances afterwards.

Of a request that an issuer with a ledger of its own decides, and of whatever is about one,
the whole story: to whom it went, what the acquirer was told, and each record that is about
it, with its RRN: the answer, an approval in the issuer's place, what the issuer was owed
and its acknowledgement, voids, refunds and reversals.`,
		Example: `  lianfen ledger show 000000000042`, Args: one("the retrieval reference number (zeros in front may be left out)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			d, err := client.Detail(cmd.Context(), fullRRN(args[0]))
			if err != nil {
				return err
			}
			return a.print(cmd, d, func() error {
				units, err := scalesOf(cmd, client)
				if err != nil {
					return err
				}
				return detailTable(d, units, client.Zone()).write(cmd.OutOrStdout())
			})
		},
	}
}

// scalesOf asks for the decimals of every programme.
func scalesOf(cmd *cobra.Command, client *app.Client) (scales, error) {
	programs, err := client.Programs(cmd.Context())
	units := scales{points.Standard: settlement.Scale} // Debts said outright are in it.
	for i := range programs {
		units[programs[i].ID] = programs[i].Scale
	}
	return units, err
}

func detailTable(d app.Detail, units scales, zone *time.Location) *table {
	t := new(table)
	t.row("RRN", fmt.Sprintf("%s, authorisation code %s", d.RRN, d.AuthCode))
	t.row("what", languages()[english].what(d.Kind, d.Function))
	t.row("outcome", outcomeOf(&d, zone))
	if d.Risk != nil {
		t.row("rules on risk", d.Risk.English())
		t.row("风险规则", d.Risk.Chinese())
	}
	t.row("posted", localTime(d.Posted, zone))
	t.row("business date", d.Date)
	if d.Terminal != (points.TerminalID{}) {
		t.row("terminal", fmt.Sprintf("%v of merchant %v, STAN %s", d.Terminal, d.Merchant, d.STAN))
	}
	if d.Card != "" {
		t.row("card", d.Card)
	}
	if d.Member != 0 {
		t.row("member", d.Member)
	}
	switch read := func(amount points.Amount) string { return units.amount(d.Program, amount) }; {
	case d.Sale != 0:
		t.row("amount", fmt.Sprintf("%d in the unit of the sale", d.Sale))
		for _, leg := range d.Legs {
			t.row("paid", fmt.Sprintf("%s of programme %d, for %d of the sale", units.amount(leg.Program, leg.Amount), leg.Program, leg.Covers))
		}
	case d.Program != 0:
		t.row("amount", fmt.Sprintf("%s in programme %d", read(cmp.Or(d.Amount, d.Asked)), d.Program))
	}
	if d.Program != 0 && d.Member != 0 && !d.Forwarded { // Of others the issuer has the balances.
		read := func(amount points.Amount) string { return units.amount(d.Program, amount) }
		t.row("afterwards", fmt.Sprintf("free %s, pending %s, held %s, debt %s in programme %d", read(d.Free), read(d.Pending), read(d.Held), read(d.Debt), d.Program))
	}
	storyRows(t, d.Story, units, zone)
	switch {
	case d.Original != "":
		t.row("about", "RRN "+d.Original)
	case d.Kind == book.KindReverse && d.Reason.Approved():
		t.row("about", "nothing to reverse: a tombstone was laid, and the request is refused if it comes after all")
	}
	if d.Asked != 0 {
		t.row("asked for", units.amount(d.Program, d.Asked))
	}
	if d.What != "" {
		t.row("that is", d.What)
	}
	if d.Act != 0 {
		t.row("act", d.Act)
	}
	switch {
	case d.Proposed != "":
		t.row("asked by", fmt.Sprintf("%s, approved by %s: %s", d.Proposed, d.Operator, d.Note))
	case d.Second != "":
		t.row("asked by", fmt.Sprintf("%s, approved by %s: %s", d.Operator, d.Second, d.Note))
	case d.Operator != "":
		t.row("by", strings.TrimSuffix(d.Operator+": "+d.Note, ": "))
	}
	bookedRows(t, &d, units)
	return t
}

// bookedRows are what was booked, and in which lots.
func bookedRows(t *table, d *app.Detail, units scales) {
	for _, p := range d.Postings {
		t.row("posting", fmt.Sprintf("%v %d in %d: %s, then %s", p.Account, p.Party, p.Program, signed(p.Amount, int(units[p.Program])), units.amount(p.Program, p.After)))
	}
	for _, m := range d.Lots {
		held := ""
		if m.Held {
			held = ", between free and held"
		}
		dates := "until " + dateOr(m.ExpiresOn, "for ever")
		if m.ActiveOn != 0 {
			dates = fmt.Sprintf("from %v %s", m.ActiveOn, dates)
		}
		if m.DecaysOn != 0 {
			dates += fmt.Sprintf(", next decay %v", m.DecaysOn)
		}
		t.row("lot", fmt.Sprintf("%v %d in %d: %s of those %s%s", m.Account, m.Party, m.Program, signed(m.Amount, int(units[m.Program])), dates, held))
	}
}

// proposalOf says that a record is a proposal, and where it stands.
func proposalOf(p *app.Proposal, zone *time.Location) string {
	const done = "a proposal, with which nothing is done; "
	switch p.State {
	case app.ProposalWaits:
		return done + "it waits for a second person, until " + localTime(p.Until, zone)
	case app.ProposalApproved:
		return "a proposal, which " + p.By + " has approved: it was carried out under RRN " + p.Decision
	case app.ProposalRejected:
		return done + p.By + " has rejected it under RRN " + p.Decision
	case app.ProposalOver:
		return done + "it is over: nobody decided in time"
	default:
		return done + "it does not wait any more; what decided it is too far behind it to be looked for here (lianfen ledger find)"
	}
}

// outcomeOf is what came of a record: of one that an issuer with a ledger of its own
// decides, what its acquirer was told.
func outcomeOf(d *app.Detail, zone *time.Location) string {
	switch {
	case d.Proposal != nil:
		return proposalOf(d.Proposal, zone)
	case !d.Forwarded:
		return fmt.Sprintf("%v (DE39 %s): %s", d.Reason, d.DE39, d.English)
	case d.Told == 0:
		return "forwarded to the issuer, which has not answered yet"
	default:
		return fmt.Sprintf("%v (DE39 %s): %s", d.Told, d.Told.DE39(), d.Told.English())
	}
}

// storyRows tell what became of a request whose issuer keeps its own ledger.
func storyRows(t *table, s *app.Story, units scales, zone *time.Location) {
	if s == nil {
		return
	}
	link := "at the end of link " + s.Link
	if s.Link == "" {
		link = "without a link now"
	}
	t.row("issuer", fmt.Sprintf("%d, %s; its ledger has the balances", s.Issuer, link))
	t.row("request", fmt.Sprintf("RRN %s: asked %s, approved %s, in clearing %s of programme %d", s.RRN,
		units.amount(s.Program, s.Asked), units.amount(s.Program, s.Approved), cmp.Or(signed(s.Booked, int(units[s.Program])), "0"), s.Program))
	t.row("now", s.State)
	for _, c := range s.Chapter {
		t.row("story", fmt.Sprintf("RRN %s, %s: %s", c.RRN, localTime(c.Posted, zone), c.Text))
	}
	t.row("", "as far as RRN "+s.Reach)
}

func (a *admin) ledgerFind() *cobra.Command {
	var q app.FindQuery
	var dates period
	var stan points.STAN
	cmd := &cobra.Command{
		Use: "find", Short: "Find journal records by card, terminal and STAN, member, or business date; declines too", Args: none,
		Example: "  lianfen ledger find --terminal T0000001 --stan 17\n  lianfen ledger find --card 6222020000000000017 --date 2026-03-01",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(dates.into(&q.Range), checkCard("card", string(q.Card))); err != nil {
				return err
			}
			if cmd.Flags().Changed("stan") {
				if q.Terminal == (points.TerminalID{}) {
					return usage("--stan counts the messages of a terminal: name it with --terminal")
				}
				q.STAN = &stan
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			f, err := client.Find(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.print(cmd, f, func() error {
				units, err := scalesOf(cmd, client)
				if err != nil {
					return err
				}
				return printFound(cmd, f, units, client.Zone())
			})
		},
	}
	cmd.Flags().StringVar((*string)(&q.Card), "card", "", "card number")
	cmd.Flags().Var(decimal((*uint64)(&q.Member), 0), "member", "member number")
	cmd.Flags().TextVar(&q.Terminal, "terminal", points.TerminalID{}, "terminal identification (DE41)")
	cmd.Flags().Var((*traceNumber)(&stan), "stan", "system trace audit number (DE11), with --terminal")
	cmd.Flags().StringVar(&dates.on, "date", "", "one business date, such as 2026-03-01")
	rangeFlags(cmd, &q.Range, &dates)
	cmd.MarkFlagsMutuallyExclusive("card", "member", "terminal")
	cmd.MarkFlagsOneRequired("card", "member", "terminal", "stan", "date", "from", "to")
	return cmd
}

func printFound(cmd *cobra.Command, f app.Found, units scales, zone *time.Location) error {
	if len(f.Records) == 0 {
		return say(cmd, "No such record%s.", behind(f.Reach))
	}
	said := languages()[english]
	s := newSheet("RRN", "DATE", "POSTED", "WHAT", "MERCHANT", "TERMINAL", "STAN", "CARD", "PROGRAMME", ">AMOUNT", "OUTCOME", "RULES ON RISK")
	for _, r := range f.Records {
		outcome := r.Reason.String()
		switch {
		case r.Forwarded && r.Told == 0:
			outcome = "no answer yet"
		case r.Forwarded:
			outcome = r.Told.String()
		}
		s.row(r.RRN, r.Date, clockTime(r.Posted, zone), said.what(r.Kind, r.Function), r.Merchant, r.Terminal, r.STAN, r.Card, number(r.Program),
			units.amount(r.Program, cmp.Or(r.Asked, r.Amount)), outcome, r.Risk.English())
	}
	if err := s.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	return printReach(cmd, f.Reach, said)
}

// number is a programme's code, nothing for none.
func number(program points.ProgramID) string {
	if program == 0 {
		return ""
	}
	return fmt.Sprint(uint16(program))
}

// behind tells, in the middle of a sentence, that an answer may lack the newest.
func behind(r app.Reach) string {
	if r.AsOf >= r.Position {
		return ""
	}
	return fmt.Sprintf(" up to position %d of %d, which is how far the index has come", r.AsOf, r.Position)
}

func (a *admin) ledgerReindex() *cobra.Command {
	return &cobra.Command{
		Use: "reindex", Short: "Drop the index of statements and searches, and make it again from the journal", Args: none,
		Long: `Drop the index of statements and searches, and make it again from the journal.

The switch goes on serving. Statements and searches say how far they are complete
meanwhile. The work goes on when this command is interrupted.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			began := now()
			at, err := client.Reindex(cmd.Context())
			if err != nil {
				return err
			}
			total := at.Position
			bar := newBar(cmd.ErrOrStderr(), "indexing the journal")
			defer bar.end()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for at.AsOf < total {
				bar.set(uint64(at.AsOf), uint64(total))
				select {
				case <-cmd.Context().Done():
					return fmt.Errorf("reindex: no longer watching, the switch goes on: %w", cmd.Context().Err())
				case <-tick.C:
				}
				if at, err = client.Indexed(cmd.Context()); err != nil {
					return err
				}
			}
			bar.end()
			took := max(now().Sub(began), time.Microsecond)
			done := reindexed{Records: uint64(total), Seconds: took.Seconds(), PerSecond: float64(total) / took.Seconds()}
			return a.print(cmd, done, func() error {
				return say(cmd, "%d of %d records are in the index again: %.0f a second.", at.AsOf, at.Position, done.PerSecond)
			})
		},
	}
}

// reindexed is what a rebuild of the index took.
type reindexed struct {
	Records   uint64  `json:"records"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
}

func say(cmd *cobra.Command, format string, args ...any) error {
	return sayTo(cmd.OutOrStdout(), format, args...)
}

func sayTo(w io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(w, format+"\n", args...); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// tongue is a flag for one of the languages, with a region or without: zh, zh-CN, zh_CN.
type tongue string

func (l *tongue) String() string { return string(*l) }

func (l *tongue) Type() string { return "string" }

func (l *tongue) Set(text string) error {
	name, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(text), "_", "-"), "-")
	if languages()[name] == nil {
		return usage("%q: want en or zh", text)
	}
	*l = tongue(name)
	return nil
}

// english and chinese name the languages of a statement.
const (
	english = "en"
	chinese = "zh"
)

// language is the words of a statement.
type language struct {
	heads     []string
	none      string // member
	more      string // RRN
	behind    string // position, of position
	functions map[points.Function]string
	kinds     map[book.Kind]string
	swapDone  string // the other ledger's side stands
	swapBack  string // it does not: what was held is free again
	reason    func(points.Reason) string
	name      func(app.StatementUnit) string
	merchant  func(app.StatementMerchant) string // beside its number
}

// what names what a record did: as it was asked at the door, else as the command
// that it is.
func (l *language) what(kind book.Kind, function points.Function) string {
	if kind == book.KindSwapTold {
		return l.kinds[kind] // What was asked says nothing of what the answer did.
	}
	if name, ok := l.functions[function]; ok && kind != book.KindSwapLock { // The lock of a swap is asked for as the swap is.
		return name
	}
	if name, ok := l.kinds[kind]; ok {
		return name
	}
	if function != 0 && kind != book.KindSwapLock {
		return strings.ReplaceAll(function.String(), "_", " ")
	}
	return strings.ReplaceAll(kind.String(), "_", " ")
}

// did is what a line of a statement did to the points.
func (l *language) did(line *app.StatementLine) string {
	switch {
	case line.Kind != book.KindSwapTold:
		return l.what(line.Kind, line.Function)
	case line.Amount != 0:
		return l.swapDone
	default:
		return l.swapBack
	}
}

// languages are those that a statement can be read in.
func languages() map[string]*language {
	return map[string]*language{
		english: {
			heads:    []string{"RRN", "DATE", "POSTED", "PROGRAMME", "WHAT", "MERCHANT", "TERMINAL", ">AMOUNT", ">RESERVED", ">BALANCE", ">FREE", ">PENDING", ">HELD", "OUTCOME"},
			none:     "Nothing has happened to the points of member %d in that time.",
			more:     "There is more: go on with --next %s",
			behind:   "Complete up to position %d of %d: the index is still catching up.",
			kinds:    map[book.Kind]string{book.KindAdjust: "adjustment", book.KindSwapTold: "issuer's answer to a swap"},
			swapDone: "swap done", swapBack: "swap given back",
			reason:   points.Reason.English,
			name:     func(u app.StatementUnit) string { return u.Name },
			merchant: func(app.StatementMerchant) string { return "" },
		},
		chinese: {
			heads:     []string{"参考号", "清算日期", "入账时间", "积分计划", "交易", "商户", "终端", ">积分变动", ">预留", ">余额", ">可用", ">待生效", ">冻结", "结果"},
			none:      "会员 %d 在此期间没有积分变动。",
			more:      "还有更多：--next %s",
			behind:    "数据截至第 %d 笔，共 %d 笔：索引仍在更新。",
			functions: functionsInChinese(),
			kinds:     kindsInChinese(),
			swapDone:  "互换完成", swapBack: "互换退回",
			reason: points.Reason.Chinese,
			name: func(u app.StatementUnit) string {
				if u.NameZH != "" {
					return u.NameZH
				}
				return u.Name
			},
			merchant: func(m app.StatementMerchant) string { return cmp.Or(m.NameZH, m.Name) },
		},
	}
}

func functionsInChinese() map[points.Function]string {
	return map[points.Function]string{
		points.SignOn: "签到", points.SignOff: "签退", points.CashierSignOn: "收银员签到", points.Balance: "积分查询", points.Redeem: "积分消费",
		points.Earn: "积分累积", points.EarnConfirm: "累积确认", points.Void: "撤销", points.Refund: "退货", points.PreAuth: "预授权",
		points.PreAuthVoid: "预授权撤销", points.Completion: "预授权完成", points.CompletionAdvice: "预授权完成通知", points.CompletionVoid: "预授权完成撤销",
		points.OfflineRedeem: "离线消费", points.OfflineEarn: "离线累积", points.Transfer: "转赠", points.SwapQuote: "积分互换询价", points.Swap: "积分互换",
		points.SwapCredit: "互换入账", points.SwapDebit: "互换扣减", points.SwapEnquiry: "互换查证",
		points.Reversal: "冲正", points.BatchClose: "批结算", points.BatchUpload: "批上送", points.BatchUploadEnd: "批上送结束",
	}
}

func kindsInChinese() map[book.Kind]string {
	return map[book.Kind]string{
		book.KindPut: "资料变更", book.KindOpen: "开户", book.KindFreeze: "账户冻结", book.KindClose: "销户", book.KindSignOn: "签到",
		book.KindBalance: "积分查询", book.KindEarn: "积分累积", book.KindRedeem: "积分消费", book.KindHold: "预授权", book.KindIncrement: "追加预授权",
		book.KindCapture: "预授权完成", book.KindRelease: "预授权撤销", book.KindExpireHolds: "预授权到期", book.KindVoid: "撤销", book.KindRefund: "退货",
		book.KindReverse: "冲正", book.KindTransfer: "转赠", book.KindAdjust: "调整", book.KindReinstate: "过期恢复", book.KindExpireLots: "过期",
		book.KindVestLots: "积分生效", book.KindCutOver: "日切", book.KindSettle: "清算", book.KindGroup: "组合交易",
		book.KindDecay:   "积分衰减",
		book.KindForward: "转发积分发行方", book.KindConclude: "积分发行方应答", book.KindStandIn: "代授权", book.KindOwe: "应答超时",
		book.KindAcknowledge: "积分发行方确认", book.KindGiveUp: "转人工处理", book.KindResolve: "人工处理",
		book.KindCloseBatch: "批结算", book.KindUpload: "批上送", book.KindDownload: "参数下载",
		book.KindSignIn: "操作员登录", book.KindEnrol: "操作员登记", book.KindPropose: "提交复核", book.KindApprove: "复核通过", book.KindReject: "复核拒绝", book.KindNote: "操作记录", book.KindPost: "清算过账",
		book.KindPIN: "密码管理", book.KindDispute: "差错争议", book.KindExpireDisputes: "争议逾期", book.KindLeg: "清算调整",
		book.KindQuote: "互换询价", book.KindSwapLock: "互换锁价", book.KindSwap: "积分互换", book.KindSwapCancel: "互换撤销", book.KindExpireSwaps: "互换锁价到期",
		book.KindSwapTold: "互换积分发行方应答", book.KindSwapRetry: "互换重试",
	}
}

func printStatement(cmd *cobra.Command, s app.Statement, l *language, zone *time.Location) error {
	if len(s.Lines) == 0 {
		if err := say(cmd, l.none, s.Member); err != nil {
			return err
		}
		return printReach(cmd, s.Reach, l)
	}
	units := make(map[points.ProgramID]app.StatementUnit, len(s.Programs))
	for _, u := range s.Programs {
		units[u.Program] = u
	}
	merchants := make(map[points.MerchantID]string, len(s.Merchants))
	for _, m := range s.Merchants {
		merchants[m.Merchant] = strings.TrimSpace(m.Merchant.String() + " " + l.merchant(m))
	}
	table := newSheet(l.heads...)
	for i := range s.Lines {
		line := &s.Lines[i]
		unit := units[line.Program]
		scale := int(unit.Scale)
		outcome := ""
		if !line.Reason.Approved() {
			outcome = l.reason(line.Reason)
		}
		table.row(line.RRN, line.Date, clockTime(line.Posted, zone), strings.TrimSpace(number(line.Program)+" "+l.name(unit)), l.did(line),
			merchants[line.Merchant], line.Terminal, signed(line.Amount, scale), signed(line.Reserved, scale),
			after(line.Balance, scale), after(line.Free, scale), after(line.Pending, scale), after(line.Held, scale), outcome)
	}
	if err := table.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	return printReach(cmd, s.Reach, l)
}

func signed(amount points.Amount, scale int) string {
	switch {
	case amount == 0:
		return ""
	case amount > 0:
		return "+" + amount.Decimal(scale)
	default:
		return amount.Decimal(scale)
	}
}

// after is a balance, nothing where the record does not tell.
func after(balance *points.Amount, scale int) string {
	if balance == nil {
		return ""
	}
	return balance.Decimal(scale)
}

func printReach(cmd *cobra.Command, r app.Reach, l *language) error {
	if r.Next != "" {
		if err := say(cmd, l.more, r.Next); err != nil {
			return err
		}
	}
	if r.AsOf < r.Position {
		return say(cmd, l.behind, r.AsOf, r.Position)
	}
	return nil
}

// sheet prints rows under a head in columns that line up, also where characters
// are two columns wide. A head that begins with > is of a column of figures, which
// stand to the right.
type sheet struct {
	right []bool
	rows  [][]string
}

func newSheet(heads ...string) *sheet {
	s := &sheet{rows: [][]string{nil}}
	for _, head := range heads {
		name, right := strings.CutPrefix(head, ">")
		s.right = append(s.right, right)
		s.rows[0] = append(s.rows[0], name)
	}
	return s
}

func (s *sheet) row(cells ...any) {
	s.rows = append(s.rows, cellsOf(cells))
}

func (s *sheet) write(w io.Writer) error {
	widths := make([]int, len(s.right))
	for _, row := range s.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], width(cell))
		}
	}
	for _, row := range s.rows {
		var line strings.Builder
		for i, cell := range row {
			padding := strings.Repeat(" ", widths[i]-width(cell))
			line.WriteString("  ")
			if s.right[i] {
				line.WriteString(padding + cell)
			} else {
				line.WriteString(cell + padding)
			}
		}
		if err := sayTo(w, "%s", strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// width is how many columns of a terminal a text takes: Chinese characters, and
// the full forms of others, take two (Unicode, East Asian Width W and F).
func width(text string) int {
	columns := 0
	for _, r := range text {
		columns++
		if (r >= 0x1100 && r <= 0x115f) || (r >= 0x2e80 && r <= 0xa4cf) || (r >= 0xac00 && r <= 0xd7a3) ||
			(r >= 0xf900 && r <= 0xfaff) || (r >= 0xfe30 && r <= 0xfe6f) || (r >= 0xff00 && r <= 0xff60) || (r >= 0xffe0 && r <= 0xffe6) || (r >= 0x20000 && r <= 0x3fffd) {
			columns++
		}
	}
	return columns
}
