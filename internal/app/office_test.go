package app_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

const passphrase = "a long way to the sea"

// person is somebody who has enrolled.
type person struct {
	name, secret string
	signedIn     time.Time   // the time of the code that was taken
	client       *app.Client // signed in
	token        string
}

// code is the one-time code that the person has signed in with, or one of so many half
// minutes later.
func (p *person) code(t *testing.T, shift int) points.Secret {
	t.Helper()
	code, err := totp.GenerateCode(p.secret, p.signedIn.Add(time.Duration(shift)*30*time.Second))
	require.NoError(t, err)
	return points.Secret(code)
}

// enrol lets by make an operator, who then enrols and signs in.
func (r *running) enrol(t *testing.T, by *app.Client, name string, roles book.Roles) *person {
	t.Helper()
	changed, err := by.PutOperator(t.Context(), app.OperatorChange{Name: name, Roles: roles, Invite: true})
	require.NoError(t, err)
	joined, err := r.client.Join(t.Context(), app.Joining{Name: name, Code: changed.Code, Password: passphrase})
	require.NoError(t, err)
	uri, err := url.Parse(string(joined.URI))
	require.NoError(t, err)
	p := &person{name: name, secret: uri.Query().Get("secret"), signedIn: time.Now()}
	session, err := r.client.Login(t.Context(), app.SignIn{Name: name, Password: passphrase, Code: p.code(t, 0)})
	require.NoError(t, err)
	p.token, p.client = string(session.Token), r.client.In(string(session.Token))
	return p
}

func reasonIs(t *testing.T, want points.Reason, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want.String(), points.ReasonOf(err).String(), err.Error())
}

// A day of maker and checker at the door: the first operator comes from the socket's
// owner, who is nobody afterwards; what the policy lists is proposed by one and approved
// by another; the journal names both; a start knows it all again.
func TestSecondPersonAtTheDoor(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	all := book.RoleAdmin | book.RoleOperator | book.RoleApprover
	li := r.enrol(t, r.client, "li", all)
	_, err := r.client.Status(ctx)
	reasonIs(t, points.SignInRefused, err)

	alone := app.Adjustment{Holder: app.Holder{Member: 1}, Program: 901, Amount: 50, Note: "case 17"}
	done, err := li.client.Adjust(ctx, alone)
	require.NoError(t, err)
	require.Empty(t, done.Pending, "there is no second person: li acts alone")
	word := alone
	word.Second = "wang"
	_, err = li.client.Adjust(ctx, word)
	reasonIs(t, points.NeedsSecondPerson, err)
	foreign := alone
	foreign.Operator = "wang"
	_, err = li.client.Adjust(ctx, foreign)
	reasonIs(t, points.NotPermitted, err)

	wang := r.enrol(t, li.client, "wang", all)
	require.Contains(t, h.log.String(), "acts need a second person from now on")
	done, err = li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)
	require.Zero(t, done, "it is asked for already, and nothing is written or waits")
	done, err = li.client.Adjust(ctx, alone)
	require.NoError(t, err)
	require.NotEmpty(t, done.Pending)
	require.Equal(t, points.Amount(50), usableBy(t, li, 1))
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	require.Equal(t, "li", pending[0].Operator)
	require.Contains(t, pending[0].What, "+50")
	_, err = li.client.Approve(ctx, app.Decision{RRN: done.RRN})
	reasonIs(t, points.NeedsSecondPerson, err)
	approved, err := wang.client.Approve(ctx, app.Decision{RRN: done.RRN, Note: "seen"})
	require.NoError(t, err)
	require.Equal(t, points.Amount(100), *approved.Free)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	reasonIs(t, points.ProposalUnknown, err)
	detail, err := li.client.Detail(ctx, approved.RRN)
	require.NoError(t, err)
	require.Equal(t, []string{"wang", "li", "seen"}, []string{detail.Operator, detail.Proposed, detail.Note})
	require.Equal(t, book.ActAdjust, detail.Act)

	d, err := app.ReadDirectory(strings.NewReader(strings.Replace(smallTown, "name: Merchant", "name: Renamed", 1)))
	require.NoError(t, err)
	loaded, err := li.client.Load(ctx, d)
	require.NoError(t, err)
	require.Len(t, loaded.Pending, 1, "what would stay as it is needs nobody")
	_, err = wang.client.Approve(ctx, app.Decision{RRN: loaded.Pending[0]})
	require.NoError(t, err)
	directory, err := wang.client.Directory(ctx)
	require.NoError(t, err)
	require.Equal(t, "Renamed", directory.Merchants[0].Name)

	cut, err := li.client.CutOver(ctx, app.CutOver{Force: true})
	require.NoError(t, err)
	require.NotEmpty(t, cut.Pending)
	cut, err = wang.client.Approve(ctx, app.Decision{RRN: cut.RRN})
	require.NoError(t, err)
	status, err := li.client.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, cut.Date, status.Date)

	last, err := li.client.Adjust(ctx, alone)
	require.NoError(t, err)
	_, err = li.client.Prove(ctx, app.ProofProgress{})
	require.NoError(t, err)
	r.stop(t)
	r = h.start(t)
	_, err = r.client.In(li.token).Status(ctx)
	reasonIs(t, points.SignInRefused, err)
	_, err = r.client.Login(ctx, app.SignIn{Name: "wang", Password: passphrase, Code: wang.code(t, 0)})
	reasonIs(t, points.SignInRefused, err)
	session, err := r.client.Login(ctx, app.SignIn{Name: "wang", Password: passphrase, Code: wang.code(t, 1)})
	require.NoError(t, err)
	_, err = r.client.In(string(session.Token)).Approve(ctx, app.Decision{RRN: last.RRN})
	require.NoError(t, err)
	r.stop(t)
	for _, secret := range []string{passphrase, li.secret, wang.secret, li.token, wang.token, string(session.Token)} {
		require.NotContains(t, h.log.String(), secret)
	}
}

func usableBy(t *testing.T, p *person, member points.MemberID) points.Amount {
	t.Helper()
	accounts, err := p.client.Accounts(t.Context(), app.Holder{Member: member})
	require.NoError(t, err)
	return accounts.Accounts[0].Free
}

// roleOf is what each thing that can be asked needs. A new one has to be put here.
var roleOf = map[string]string{
	"POST /v1/login": "", "POST /v1/enrol": "",
	"POST /v1/logout": "viewer", "GET /v1/whoami": "viewer", "GET /v1/operators": "viewer", "POST /v1/operators": "admin", "POST /v1/policy": "admin",
	"GET /v1/pending": "viewer", "POST /v1/approve": "approver", "POST /v1/reject": "viewer",
	"GET /v1/status": "viewer", "GET /v1/directory": "viewer", "GET /v1/programs": "viewer", "POST /v1/directory": "operator",
	"POST /v1/accounts": "viewer", "POST /v1/adjust": "operator", "POST /v1/cutover": "operator", "POST /v1/cycles": "viewer", "GET /v1/rates": "viewer", "POST /v1/rates": "operator", "GET /v1/fees": "viewer", "POST /v1/fees": "operator",
	"GET /v1/caps": "viewer", "POST /v1/caps": "operator", "POST /v1/cleared": "viewer", "GET /v1/guarantees": "viewer", "POST /v1/guarantees/fund": "operator", "POST /v1/guarantees/limit": "operator",
	"POST /v1/exchange/quote": "operator", "POST /v1/exchange/lock": "operator", "POST /v1/exchange/swap": "operator", "POST /v1/exchange/cancel": "operator", "POST /v1/exchange/show": "viewer", "GET /v1/exchange/queue": "viewer", "GET /v1/exchange/terms": "viewer", "POST /v1/exchange/terms": "operator",
	"POST /v1/record": "viewer", "GET /v1/totals": "viewer",
	"GET /v1/links": "viewer", "POST /v1/batches": "viewer", "POST /v1/batches/detail": "viewer", "POST /v1/batches/counting": "viewer",
	"POST /v1/keys": "operator", "POST /v1/keys/fetch": "operator",
	"POST /v1/pin": "operator", "POST /v1/pin/show": "viewer", "GET /v1/risk": "viewer", "POST /v1/risk": "operator", "POST /v1/risk/test": "viewer", "POST /v1/risk/flags": "viewer", "POST /v1/certs/reload": "operator", "POST /v1/certs": "operator", "POST /v1/certs/fetch": "operator",
	"GET /v1/owed": "viewer", "POST /v1/owed/resolve": "operator", "POST /v1/reload": "operator", "POST /v1/backup": "operator", "POST /v1/journal": "operator", "POST /v1/prove": "viewer",
	"POST /v1/export": "operator", "POST /v1/statement": "viewer", "POST /v1/find": "viewer", "POST /v1/detail": "viewer", "GET /v1/index": "viewer",
	"POST /v1/index/rebuild": "operator",
	"GET /v1/disputes/all":   "viewer",
	"GET /v1/disputes":       "viewer", "POST /v1/disputes": "operator", "POST /v1/disputes/show": "viewer", "GET /v1/disputes/rules": "viewer", "POST /v1/disputes/rules": "operator",
	"POST /v1/recon": "operator", "POST /v1/recon/list": "viewer", "POST /v1/recon/act": "operator",
	"POST /v1/leg": "operator", "POST /v1/liability": "viewer",
	"POST /v1/settle/prepare": "viewer", "POST /v1/settle/show": "viewer", "POST /v1/settle/diff": "viewer", "POST /v1/settle/default": "viewer", "POST /v1/settle/run": "operator",
	"POST /v1/settle/approve": "approver", "POST /v1/settle/publish": "approver", "POST /v1/settle/void": "operator", "POST /v1/settle/delivered": "operator",
	"POST /v1/settle/temporary": "operator", "POST /v1/settle/deliveries": "viewer", "POST /v1/settle/exceptions": "viewer", "POST /v1/settle/export": "operator",
}

// Each thing that can be asked is served to whoever has the role for it and refused to
// everybody else, who hears which role is missing and who has it; nobody is served
// without being known.
func TestEveryDoorAndEveryRole(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	chief := r.enrol(t, r.client, "chief", book.RoleAdmin)
	people := map[string]*person{"admin": chief}
	for _, name := range []string{"viewer", "operator", "approver"} {
		var roles book.Roles
		require.NoError(t, roles.UnmarshalText([]byte(name)))
		people[name] = r.enrol(t, chief.client, name, roles)
	}
	doors := r.Doors()
	require.Len(t, doors, len(roleOf))
	for pattern := range doors {
		needed, known := roleOf[pattern]
		require.True(t, known, pattern)
		method, path, _ := strings.Cut(pattern, " ")
		if pattern == "POST /v1/logout" || needed == "" {
			continue
		}
		for role, p := range people {
			status, reason, detail := ask(t, h.config.Admin.Socket, method, path, p.token)
			if needed == "viewer" || needed == role {
				require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, status, "%s by %s: %s", pattern, role, detail)
				continue
			}
			require.Equal(t, points.RoleMissing.String(), reason, "%s by %s: %s", pattern, role, detail)
			require.Contains(t, detail, "this needs the role "+needed)
			require.Contains(t, detail, "ask "+people[needed].name)
		}
		for _, token := range []string{"", "nonsense"} {
			_, reason, _ := ask(t, h.config.Admin.Socket, method, path, token)
			require.Equal(t, points.SignInRefused.String(), reason, pattern)
		}
	}
	_, err := people["viewer"].client.Logout(t.Context())
	require.NoError(t, err)
	_, err = people["viewer"].client.Whoami(t.Context())
	reasonIs(t, points.SignInRefused, err)
	r.stop(t)
}

// ask sends a body that nothing understands, so that nothing is done.
func ask(t *testing.T, socket, method, path, token string) (status int, reason, detail string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://admin"+path, strings.NewReader(`{"no such thing":1}`))
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	var p struct{ Reason, Detail string }
	if response.StatusCode != http.StatusOK {
		require.NoError(t, json.NewDecoder(response.Body).Decode(&p))
	}
	return response.StatusCode, p.Reason, p.Detail
}

// Guessing locks: after three refusals the right password is not taken either, many
// guesses at once are looked at one by one, and the journal has what was counted. A code
// that was used is not taken again.
func TestGuessingLocks(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	li := r.enrol(t, r.client, "li", book.RoleAdmin|book.RoleOperator)
	wang := r.enrol(t, li.client, "wang", book.RoleViewer)
	ctx := t.Context()
	_, err := r.client.Login(ctx, app.SignIn{Name: "li", Password: passphrase, Code: li.code(t, 0)})
	reasonIs(t, points.SignInRefused, err)
	_, err = r.client.Login(ctx, app.SignIn{Name: "nobody", Password: passphrase, Code: li.code(t, 0)})
	reasonIs(t, points.SignInRefused, err)
	var guessing sync.WaitGroup
	reasons := make([]points.Reason, 12)
	for i := range reasons {
		guessing.Go(func() {
			_, err := r.client.Login(ctx, app.SignIn{Name: "wang", Password: "guess after guess", Code: "000000"})
			reasons[i] = points.ReasonOf(err)
		})
	}
	guessing.Wait()
	count := map[points.Reason]int{}
	for _, reason := range reasons {
		count[reason]++
	}
	require.Equal(t, map[points.Reason]int{points.SignInRefused: 3, points.LockedOut: 9}, count)
	_, err = r.client.Login(ctx, app.SignIn{Name: "wang", Password: passphrase, Code: wang.code(t, 1)})
	reasonIs(t, points.LockedOut, err)
	list, err := li.client.Operators(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 3, list[1].Refused)
	require.NotEmpty(t, list[1].Locked)
	_, err = wang.client.Whoami(ctx)
	require.NoError(t, err, "who is signed in stays so")

	_, err = li.client.PutOperator(ctx, app.OperatorChange{Name: "wang", Status: book.Suspended})
	require.NoError(t, err)
	_, err = wang.client.Whoami(ctx)
	reasonIs(t, points.SignInRefused, err)
	_, err = li.client.PutOperator(ctx, app.OperatorChange{Name: "li", Status: book.Suspended})
	reasonIs(t, points.NotPermitted, err)
	r.stop(t)
	require.NotContains(t, h.log.String(), "guess after guess")
}

// The socket's owner acts as the operator of admin.owner without signing in, and
// approves nothing so: whoever may change the configuration is not two persons.
func TestOwnerApprovesNothing(t *testing.T) {
	h := newHouse(t, "admin.owner=wang")
	r := h.start(t)
	r.load(t, smallTown)
	all := book.RoleAdmin | book.RoleOperator | book.RoleApprover
	li := r.enrol(t, r.client, "li", all)
	_, err := li.client.PutOperator(t.Context(), app.OperatorChange{Name: "wang", Roles: all})
	require.NoError(t, err)
	_, err = li.client.PutPolicy(t.Context(), app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)
	w, err := r.client.Whoami(t.Context())
	require.NoError(t, err)
	require.Equal(t, app.Who{Name: "wang", Roles: book.RoleAdmin | book.RoleOperator, By: "socket owner"}, w)
	done, err := li.client.Adjust(t.Context(), app.Adjustment{Holder: app.Holder{Member: 1}, Program: 901, Amount: 5, Note: "x"})
	require.NoError(t, err)
	_, err = r.client.Approve(t.Context(), app.Decision{RRN: done.RRN})
	reasonIs(t, points.RoleMissing, err)
	require.ErrorContains(t, err, "approves nothing")
	_, err = r.client.Reject(t.Context(), app.Decision{RRN: done.RRN})
	reasonIs(t, points.RoleMissing, err)
	mine, err := r.client.Adjust(t.Context(), app.Adjustment{Holder: app.Holder{Member: 1}, Program: 901, Amount: 7, Note: "x"})
	require.NoError(t, err)
	_, err = r.client.Reject(t.Context(), app.Decision{RRN: mine.RRN})
	require.NoError(t, err)
	r.stop(t)
}

// Of what was approved the rules in force tell who proposed, who approved and why, the
// approval says what it was, and the member's statement has an adjustment, not an approval.
func TestApprovedActsAreToldAsTheyWere(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	all := book.RoleAdmin | book.RoleOperator | book.RoleApprover
	li := r.enrol(t, r.client, "li", all)
	wang := r.enrol(t, li.client, "wang", all)
	_, err := li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)

	done, err := li.client.Adjust(ctx, app.Adjustment{Holder: app.Holder{Member: 1}, Program: 901, Amount: 50, Note: "case 17"})
	require.NoError(t, err)
	waiting, err := wang.client.Detail(ctx, done.RRN)
	require.NoError(t, err)
	require.Equal(t, "adjust +50 of programme 901, member 1", waiting.What)
	approved, err := wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	require.Equal(t, "adjust +50 of programme 901, member 1", approved.What)
	require.Eventually(t, func() bool {
		at, err := li.client.Indexed(ctx)
		return err == nil && at.AsOf > 0 && at.AsOf == at.Position
	}, time.Minute, time.Millisecond)
	statement, err := li.client.Statement(ctx, app.StatementQuery{Holder: app.Holder{Member: 1}, Range: app.Range{Limit: 10}})
	require.NoError(t, err)
	require.Equal(t, book.KindAdjust, statement.Lines[0].Kind)

	rules, err := app.ReadRiskRules(strings.NewReader("rules:\n  - {name: cap, measure: amount, per: card, window: day, limit: 100, action: decline}\n"))
	require.NoError(t, err)
	_, err = li.client.SetRisk(ctx, app.RiskSetting{Rules: rules, Operator: "wang", Note: "spring"})
	reasonIs(t, points.NotPermitted, err)
	done, err = li.client.SetRisk(ctx, app.RiskSetting{Rules: rules, Note: "spring"})
	require.NoError(t, err)
	require.NotEmpty(t, done.Pending)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: done.RRN, Note: "seen"})
	require.NoError(t, err)
	risk, err := li.client.Risk(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"li", "wang", "spring"}, []string{risk.Operator, risk.Second, risk.Note})

	// The rule has its name, that of its own version, also when another one is in force.
	sale := send(t, r.terminal(t, "T1"), points.Redeem, firstCard, 101).Response
	require.False(t, sale.Reason.Approved())
	rules.Rules[0].Name = "another"
	done, err = li.client.SetRisk(ctx, app.RiskSetting{Rules: rules, Note: "summer"})
	require.NoError(t, err)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	flags, err := li.client.RiskFlags(ctx, app.RiskFlagsQuery{From: done.Date, To: done.Date, Rule: "cap", Limit: 10})
	require.NoError(t, err)
	require.Equal(t, 1, flags.Declined)
	require.Equal(t, "cap", flags.Records[0].Risk.Decided.Name)
	r.stop(t)
}

// Who is not there is neither suspended nor invited.
func TestNobodyIsDisabled(t *testing.T) {
	r := newHouse(t).start(t)
	li := r.enrol(t, r.client, "li", book.RoleAdmin)
	for _, c := range []app.OperatorChange{{Name: "nobody", Status: book.Suspended}, {Name: "nobody", Invite: true}} {
		_, err := li.client.PutOperator(t.Context(), c)
		reasonIs(t, points.UnknownOriginal, err)
		require.ErrorContains(t, err, `operator "nobody": there is none`)
	}
	r.stop(t)
}

// Each list of a switch in which there is nothing is [] to machines, never null.
func TestListsOfNothing(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	ctx := t.Context()
	for what, list := range map[string]func() (any, error){
		"links":     func() (any, error) { return r.client.Links(ctx) },
		"owed":      func() (any, error) { return r.client.Owed(ctx) },
		"pending":   func() (any, error) { return r.client.Pending(ctx) },
		"operators": func() (any, error) { return r.client.Operators(ctx) },
		"rates":     func() (any, error) { return r.client.Rates(ctx) },
		"fees":      func() (any, error) { return r.client.Fees(ctx) },
		"caps":      func() (any, error) { return r.client.Caps(ctx) },
		"disputes":  func() (any, error) { return r.client.Disputes(ctx) },
	} {
		got, err := list()
		require.NoError(t, err, what)
		text, err := json.Marshal(got)
		require.NoError(t, err)
		require.Equal(t, "[]", string(text), what)
	}
	r.stop(t)
}

// Where two persons make an operator, neither has the whole code of the invitation: who
// proposed cannot enrol in the place of the person once it is approved, nor can who approved.
func TestInvitationIsDivided(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	defer r.stop(t)
	li, wang := r.staffedHouse(t, book.TwoPersons)
	changed, err := li.client.PutOperator(t.Context(), app.OperatorChange{Name: "zhou", Roles: book.RoleApprover, Invite: true})
	require.NoError(t, err)
	require.NotEmpty(t, changed.Pending)
	approved, err := wang.client.Approve(t.Context(), app.Decision{RRN: changed.RRN})
	require.NoError(t, err)
	require.NotEmpty(t, approved.SecondHalf)
	join := func(code points.Secret) error {
		_, err := r.client.Join(t.Context(), app.Joining{Name: "zhou", Code: code, Password: passphrase})
		return err
	}
	reasonIs(t, points.SignInRefused, join(changed.Code))
	reasonIs(t, points.SignInRefused, join(approved.SecondHalf))
	require.NoError(t, join(" "+changed.Code+"-"+points.Secret(strings.ToLower(string(approved.SecondHalf)))+"\n"))
	require.NotContains(t, h.log.String(), string(approved.SecondHalf))

	listed, err := li.client.Operators(t.Context())
	require.NoError(t, err)
	require.Len(t, listed, 3)
}
