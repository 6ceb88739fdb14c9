package book_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// The stories in testdata are read by people: each command shows its answer, its
// postings and what moved between lots. For every refusal the runner checks
// besides that it changed nothing and that its repeat gets the same answer.
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, stories)
	for _, story := range stories {
		t.Run(filepath.Base(story), func(t *testing.T) {
			s := &teller{desk: newDesk(t, book.Options{}), written: make(map[points.TraceKey]points.Position)}
			datadriven.RunTest(t, story, func(t *testing.T, td *datadriven.TestData) string {
				return s.tell(t, td)
			})
			replay(t, s.desk, newDesk(t, book.Options{}))
		})
	}
}

type teller struct {
	*desk
	members points.MemberID
	group   []book.Command
	written map[points.TraceKey]points.Position // where each key's answer stands
}

var kinds = map[string]book.Kind{
	"open": book.KindOpen, "freeze": book.KindFreeze, "close": book.KindClose, "sign-on": book.KindSignOn, "balance": book.KindBalance,
	"earn": book.KindEarn, "redeem": book.KindRedeem, "hold": book.KindHold, "increment": book.KindIncrement, "capture": book.KindCapture,
	"release": book.KindRelease, "expire-holds": book.KindExpireHolds, "void": book.KindVoid, "refund": book.KindRefund,
	"reverse": book.KindReverse, "transfer": book.KindTransfer, "adjust": book.KindAdjust, "reinstate": book.KindReinstate,
	"expire-lots": book.KindExpireLots, "vest-lots": book.KindVestLots, "cut-over": book.KindCutOver, "settle": book.KindSettle,
	"group": book.KindGroup, "decay": book.KindDecay, "forward": book.KindForward, "conclude": book.KindConclude,
	"stand-in": book.KindStandIn, "owe": book.KindOwe,
	"acknowledge": book.KindAcknowledge, "give-up": book.KindGiveUp, "resolve": book.KindResolve,
	"dispute": book.KindDispute, "expire-disputes": book.KindExpireDisputes, "leg": book.KindLeg,
	"close-batch": book.KindCloseBatch, "upload": book.KindUpload, "download": book.KindDownload,
}

func (s *teller) tell(t *testing.T, td *datadriven.TestData) string {
	var text strings.Builder
	for line := range strings.SplitSeq(td.Input, "\n") { // members of a group, one a line
		if td.Cmd == "group" && line != "" {
			s.group = append(s.group, s.command(t, strings.Fields(line)))
		}
	}
	switch td.Cmd {
	case "furnish":
		s.furnish(2, rulesOf(t, td.CmdArgs, "900"), rulesOf(t, td.CmdArgs, "901"))
		s.members = 2
		return ""
	case "accounts":
		return s.accounts(t)
	case "totals":
		for _, line := range s.book.Totals() {
			fmt.Fprintf(&text, "%-10v %d  %10d\n", line.Kind, line.Program, line.Amount)
		}
		return text.String()
	case "hold-view":
		return s.holdView(t, td)
	case "unfinished":
		return s.unfinished(t)
	case "batches":
		return s.batches(t, td)
	case "rules":
		return s.rules(t, td)
	case "dispute-view":
		return s.disputes(t)
	case "wait": // minutes
		var minutes int
		td.ScanArgs(t, "minutes", &minutes)
		s.now += points.Timestamp(minutes) * 60_000_000
		return ""
	}
	words := []string{td.Cmd}
	for _, arg := range td.CmdArgs {
		words = append(words, arg.Key+"="+strings.Join(arg.Vals, ","))
	}
	cmd := s.command(t, words)
	cmd.Group, s.group = s.group, nil
	if cmd.Kind >= book.KindConclude && cmd.Kind <= book.KindResolve {
		cmd.Original, cmd.OriginalKey = s.written[cmd.OriginalKey], points.TraceKey{}
	}
	if cmd.Kind == book.KindDispute {
		cmd.Original, cmd.OriginalKey = s.written[cmd.OriginalKey], points.TraceKey{}
		cmd.Acquirer, cmd.Merchant, cmd.Terminal = 0, points.MerchantID{}, points.TerminalID{}
	}
	before, digest := s.snapshot(t), s.book.Digest()
	out := *s.do(cmd)
	require.NoError(t, s.book.Audit())
	balanced(t, &out)
	if out.Position != 0 {
		s.written[cmd.Key] = out.Position
	}
	s.show(&text, &out)
	if !out.Reason.Approved() {
		require.Equal(t, before, s.snapshot(t), "a refusal changes nothing")
		if out.Position == 0 {
			require.Equal(t, digest, s.book.Digest(), "what is not written changes nothing")
		} else {
			require.Equal(t, out.Reason, s.do(cmd).Reason)
			require.True(t, s.out.Replayed, "a refusal is remembered")
		}
	}
	return text.String()
}

// rulesOf reads 900=(grace=3,debt) and the like.
func rulesOf(t *testing.T, args []datadriven.CmdArg, program string) (r book.ProgramRules) {
	for _, arg := range args {
		if arg.Key != program {
			continue
		}
		for _, rule := range arg.Vals {
			name, value, _ := strings.Cut(rule, ":")
			n, _ := strconv.Atoi(value)
			switch name {
			case "valid":
				r.ValidMonths = uint16(n)
			case "month-end":
				r.ExpiryAtMonth = true
			case "pending":
				r.PendingDays = uint16(n)
			case "tier":
				r.Tier = points.ProgramID(n)
			case "decay":
				r.DecayPart = uint16(n)
			case "decay-after":
				r.DecayAfter = uint16(n)
			case "decay-every":
				r.DecayEvery = uint16(n)
			case "grace":
				r.GraceDays = uint16(n)
			case "hold":
				r.HoldDays = uint16(n)
			case "min":
				r.MinRedeem = points.Amount(n)
			case "max":
				r.MaxAmount = points.Amount(n)
			case "max-day":
				r.MaxRedeemDay = points.Amount(n)
			case "max-count":
				r.MaxRedeemCnt = uint32(n)
			case "open-on-earn":
				r.OpenOnEarn = true
			case "debt":
				r.Debt = true
			case "transfer":
				r.Transfer = true
			case "transfer-max":
				r.TransferMax = points.Amount(n)
			case "transfer-day":
				r.TransferDay = points.Amount(n)
			default:
				t.Fatalf("no rule %q", name)
			}
		}
	}
	return r
}

// command reads "redeem card=1 program=900 amount=30 key=7".
func (s *teller) command(t *testing.T, words []string) book.Command {
	t.Helper()
	cmd := book.Command{Kind: kinds[words[0]], Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T1")}
	class := points.Class(2)
	if cmd.Kind == book.KindReverse {
		class = 4
	}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.ParseInt(value, 10, 64)
		date, _ := points.ParseBusinessDate(value)
		switch name {
		case "key":
			cmd.Key = keyOf("T1", uint32(n), class)
		case "card":
			cmd.Card = cardOf(points.MemberID(n))
		case "member":
			cmd.Member = points.MemberID(n)
		case "to":
			cmd.ToMember = points.MemberID(n)
		case "to-card":
			cmd.ToCard = cardOf(points.MemberID(n))
		case "program":
			cmd.Program = points.ProgramID(n)
		case "amount":
			cmd.Amount = points.Amount(n)
		case "of":
			cmd.OriginalKey = keyOf("T1", uint32(n), 2)
		case "at":
			cmd.Original = points.Position(n)
		case "code":
			copy(cmd.AuthCode[:], value)
		case "step":
			require.NoError(t, cmd.Dispute.Step.UnmarshalText([]byte(value)))
		case "who":
			require.NoError(t, cmd.Dispute.Who.UnmarshalText([]byte(value)))
		case "reason":
			cmd.Dispute.Code = value
		case "evidence":
			cmd.Dispute.Evidence = value
		case "leg": // ADJ:2001:3001
			cmd.Leg = legOf(t, value)
		case "note":
			cmd.Note = value
		case "tender": // 900:1/1+901:3/2
			for item := range strings.SplitSeq(value, "+") {
				var term book.TenderTerm
				_, err := fmt.Sscanf(item, "%d:%d/%d", &term.Program, &term.Points, &term.Per)
				require.NoError(t, err)
				cmd.Tender = append(cmd.Tender, term)
			}
		case "actual":
			cmd.Actual = points.Amount(n)
		case "edition":
			cmd.Edition = uint8(n)
		case "final":
			cmd.Final = true
		case "partial":
			cmd.PartialOK = true
		case "pin":
			cmd.PIN = true
		case "entry":
			cmd.EntryMode = uint16(n)
		case "expires":
			cmd.ExpiresOn = date
		case "active":
			cmd.ActiveOn = date
		case "origin":
			cmd.Origin = book.Origin(n)
		case "date":
			cmd.Date = date
		case "days":
			cmd.TraceDays = uint8(n)
		case "limit":
			cmd.Limit = uint32(n)
		case "keep":
			cmd.TraceTime = uint32(n)
		case "freeze":
			cmd.Freeze = map[string]book.Freeze{"debit": book.FreezeDebit, "credit": book.FreezeCredit, "both": 3, "none": 0, "wrong": 4}[value]
		case "operator":
			cmd.Operator = value
		case "second":
			cmd.Second = value
		case "terminal":
			cmd.Terminal = terminalID(value)
		case "merchant":
			cmd.Merchant = merchantID(value)
		case "acquirer":
			cmd.Acquirer = points.AcquirerID(n)
		case "against":
			cmd.Against = book.AccountKind(n)
		case "function":
			require.NoError(t, cmd.Function.UnmarshalText([]byte(value)))
		case "reverses":
			require.NoError(t, cmd.Reverses.UnmarshalText([]byte(value)))
		case "answer":
			require.NoError(t, cmd.Answer.UnmarshalText([]byte(value)))
		case "batch":
			cmd.Batch = uint32(n)
		case "parameters":
			cmd.Parameters = uint32(n)
		case "claims":
			cmd.Tally.Done = totalsOf(t, value)
		case "undone":
			cmd.Tally.Undone = totalsOf(t, value)
		case "items":
			for stan := range n {
				cmd.Items = append(cmd.Items, book.UploadItem{STAN: points.STAN(stan + 1), Card: cardOf(1), Amount: 10})
			}
		case "told":
			cmd.Told = []book.Balance{{Program: 903, Free: points.Amount(n), Held: 5}, {Program: 902, Free: 7}}
		case "house":
			cmd.Acquirer, cmd.Merchant, cmd.Terminal = 0, points.MerchantID{}, points.TerminalID{}
		default:
			cmd = s.entry(t, cmd, words)
			if cmd.Kind != book.KindPut {
				t.Fatalf("no argument %q in %v", name, words)
			}
			return cmd
		}
	}
	if cmd.Kind == 0 {
		cmd = s.entry(t, cmd, words)
	}
	return cmd
}

// entry reads "put card=1 status=lost" and the like: the kind of entry is the
// command's name.
func (s *teller) entry(t *testing.T, cmd book.Command, words []string) book.Command {
	t.Helper()
	values := map[string]string{"status": "active", "name": "Name"}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		values[name] = value
	}
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(values[name], 10, 64)
		return n
	}
	status := map[string]book.Status{
		"active": book.Active, "suspended": book.Suspended, "lost": book.Lost, "stolen": book.Stolen, "dormant": book.Dormant, "closed": book.Closed,
	}[values["status"]]
	cmd = book.Command{Kind: book.KindPut, Key: keyOf("T1", uint32(number("key")), 2)}
	id := number("id")
	switch words[0] {
	case "put-issuer":
		cmd.Entry.Issuer = &book.Issuer{ID: points.IssuerID(id), Name: values["name"], Status: status, Link: values["link"]}
	case "put-acquirer":
		cmd.Entry.Acquirer = &book.Acquirer{ID: points.AcquirerID(id), Name: values["name"], Status: status}
	case "put-program":
		cmd.Entry.Program = &book.Program{ID: points.ProgramID(id), Issuer: points.IssuerID(number("issuer")), Name: values["name"], Scale: uint8(number("scale")), Status: status, Rules: book.ProgramRules{
			DecayPart: uint16(number("decay")), DecayAfter: uint16(number("decay-after")), DecayEvery: uint16(number("decay-every")),
			Tier: points.ProgramID(number("tier")), Qualifying: values["qualifying"] != "",
		}}
	case "put-merchant":
		m := &book.Merchant{ID: merchantID(values["id"]), Acquirer: points.AcquirerID(number("acquirer")), Name: values["name"], Status: status}
		for program := range strings.SplitSeq(values["programs"], "+") {
			n, _ := strconv.Atoi(program)
			m.Programs = append(m.Programs, points.ProgramID(n))
		}
		cmd.Entry.Merchant = m
	case "put-terminal":
		cmd.Entry.Terminal = &book.Terminal{ID: terminalID(values["id"]), Merchant: merchantID(values["merchant"]), Status: status, Batch: uint32(number("batch"))}
	case "put-route":
		cmd.Entry.Route = &book.Route{Prefix: values["prefix"], Issuer: points.IssuerID(number("issuer")), Only: points.ProgramID(number("program"))}
	case "put-member":
		cmd.Entry.Member = &book.Member{ID: points.MemberID(id), Status: status}
		s.members = max(s.members, points.MemberID(id))
	case "put-card":
		cmd.Entry.Card = &book.Card{Token: cardOf(points.MemberID(id)), Member: points.MemberID(number("member")), Status: status, Expiry: uint32(number("expiry"))}
	default:
		t.Fatalf("no command %q", words[0])
	}
	return cmd
}

func (s *teller) show(text *strings.Builder, out *book.Outcome) {
	fmt.Fprintf(text, "#%d %v", out.Position, out.Reason)
	if out.Replayed {
		text.WriteString(" (again)")
	}
	if out.Original != 0 {
		fmt.Fprintf(text, ", of #%d", out.Original)
	}
	if out.Amount != 0 {
		fmt.Fprintf(text, ", amount %d", out.Amount)
	}
	if out.Forwarded {
		text.WriteString(", to the issuer")
	}
	if out.Answer != 0 {
		fmt.Fprintf(text, ", the acquirer is told %v", out.Answer)
	}
	if out.Batch != 0 {
		fmt.Fprintf(text, ", batch %d", out.Batch)
	}
	if out.Tally != (book.Tally{}) {
		fmt.Fprintf(text, ", %s", tallyText(&out.Tally))
	}
	if out.Unequal {
		text.WriteString(", unequal")
	}
	if out.Parameters != 0 {
		fmt.Fprintf(text, ", parameters %d", out.Parameters)
	}
	if out.More {
		text.WriteString(", more is due")
	}
	if out.Risk.Rule != 0 {
		fmt.Fprintf(text, ", declined by rule %d of version %d", out.Risk.Rule, out.Risk.Version)
	}
	if out.Risk.Flags != 0 {
		fmt.Fprintf(text, ", flagged by %v of version %d", out.Risk.Flagged(), out.Risk.Version)
	}
	if out.Member != 0 && out.Program != 0 {
		fmt.Fprintf(text, "; member %d in %d: free %d held %d", out.Member, out.Program, out.Free, out.Held)
		if out.Pending != 0 {
			fmt.Fprintf(text, " pending %d", out.Pending)
		}
		if out.Debt != 0 {
			fmt.Fprintf(text, " debt %d", out.Debt)
		}
	}
	text.WriteString("\n")
	for _, p := range out.Postings {
		fmt.Fprintf(text, "  %-10v %d/%-5d %+8d = %8d\n", p.Account.Kind, p.Account.Program, p.Account.Party, p.Amount, p.After)
	}
	for _, move := range out.Lots {
		from := "posted"
		if move.Held {
			from = "held"
		}
		fmt.Fprintf(text, "  %-10s %d/%-5d %+8d   %s\n", "  lot", move.Account.Program, move.Account.Party, move.Amount, lotName(move.Lot)+" "+from)
	}
	for _, leg := range out.Legs {
		fmt.Fprintf(text, "  paid       %d: %d points for %d\n", leg.Program, leg.Amount, leg.Covers)
	}
	for _, other := range out.Others {
		fmt.Fprintf(text, "  also in    %d: free %d held %d\n", other.Program, other.Free, other.Held)
	}
}

func (s *teller) unfinished(t *testing.T) string {
	var text strings.Builder
	phases := map[book.RemotePhase]string{
		book.RemoteOpen: "open", book.RemoteOwed: "a reversal is owed", book.RemoteTold: "an advice is owed", book.RemoteQueued: "for the operators",
	}
	for _, position := range s.book.Unfinished() {
		view, ok, err := s.book.Remote(position)
		require.NoError(t, err)
		require.True(t, ok)
		fmt.Fprintf(&text, "#%d %v %d of %d: %s", position, view.Function, view.Asked, view.Issuer, phases[view.Phase])
		if view.Refusal != 0 {
			fmt.Fprintf(&text, ", the issuer said %v", view.Refusal)
		}
		if view.Original != 0 {
			fmt.Fprintf(&text, ", about #%d", view.Original)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// totalsOf reads "30/1+5/2": debits of together 30 in 1, credits of 5 in 2.
func totalsOf(t *testing.T, text string) (totals points.Totals) {
	_, err := fmt.Sscanf(text, "%d/%d+%d/%d", &totals.DebitAmount, &totals.DebitCount, &totals.CreditAmount, &totals.CreditCount)
	require.NoError(t, err, text)
	return totals
}

func tallyText(tally *book.Tally) string {
	text := fmt.Sprintf("debits %d in %d, credits %d in %d", tally.Done.DebitAmount, tally.Done.DebitCount, tally.Done.CreditAmount, tally.Done.CreditCount)
	if u := tally.Undone; u != (points.Totals{}) {
		text += fmt.Sprintf(", of them reversed debits %d in %d, credits %d in %d", u.DebitAmount, u.DebitCount, u.CreditAmount, u.CreditCount)
	}
	return text
}

// batches shows what is counted of T1 at SHOP; with "acquirer", of the acquirer's dates.
func (s *teller) batches(t *testing.T, td *datadriven.TestData) string {
	merchant, terminal := merchantID("SHOP"), terminalID("T1")
	if td.HasArg("acquirer") {
		merchant, terminal = points.MerchantID{}, points.TerminalID{}
	}
	view, ok, err := s.book.Batches(acquirer, merchant, terminal)
	require.NoError(t, err)
	if !ok {
		return "none\n"
	}
	var text strings.Builder
	for i := range view.Batches {
		fmt.Fprintf(&text, "batch %d: %s\n", view.Batches[i].Batch, tallyText(&view.Batches[i].Tally))
	}
	if view.Closed != 0 {
		fmt.Fprintf(&text, "closed %d by #%d, %d items sent, complete %t\n", view.Closed, view.ClosedBy, view.Sent, view.Complete)
	}
	return text.String()
}

func lotName(key book.LotKey) string {
	origin := []string{"?", "earned", "bought", "swapped", "bonus", "adjusted"}[key.Origin]
	text := fmt.Sprintf("%-8s until %-10v", origin, key.ExpiresOn)
	if key.ActiveOn != 0 {
		text += fmt.Sprintf(" from %v", key.ActiveOn)
	}
	if key.DecaysOn != 0 {
		text += fmt.Sprintf(" decays on %v", key.DecaysOn)
	}
	return text
}

func (s *teller) accounts(t *testing.T) string {
	var text strings.Builder
	for id := points.MemberID(1); id <= s.members; id++ {
		for _, program := range []points.ProgramID{air, inn, miles} {
			view, ok, err := s.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: uint64(id)})
			require.NoError(t, err)
			if !ok || (view.Balance == 0 && view.Debt == 0) {
				continue
			}
			fmt.Fprintf(&text, "member %d in %d: free %d held %d debt %d\n", id, program, view.Free, view.Held, view.Debt)
			for _, lot := range view.Lots {
				fmt.Fprintf(&text, "  %8d  %s\n", lot.Amount, lotName(lot.Key))
			}
		}
	}
	return text.String()
}

func (s *teller) holdView(t *testing.T, td *datadriven.TestData) string {
	var stan uint32
	td.ScanArgs(t, "of", &stan)
	view, ok, err := s.book.Hold(s.written[keyOf("T1", stan, 2)])
	require.NoError(t, err)
	require.True(t, ok)
	state := "closed"
	if view.Open {
		state = "open"
	}
	return fmt.Sprintf("%s until %v: reserved %d captured %d left %d\n", state, view.Due, view.Reserved, view.Captured, view.Left)
}

// rules puts a set of rules on risk: one a line, in JSON.
func (s *teller) rules(t *testing.T, td *datadriven.TestData) string {
	var set book.RiskRules
	if td.HasArg("parties") {
		td.ScanArgs(t, "parties", &set.Parties)
	}
	for line := range strings.Lines(td.Input) {
		var rule book.RiskRule
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&rule), line)
		set.Rules = append(set.Rules, rule)
	}
	cmd := book.Command{Kind: book.KindPut, Entry: book.Entry{Risk: &set}}
	if out := s.do(cmd); !out.Reason.Approved() {
		return fmt.Sprintf("%v: %v\n", out.Reason, s.book.Why(&cmd))
	}
	return fmt.Sprintf("version %d\n", s.book.Registry().Risk.Version)
}
