package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// What keys, PINs, rules on risk and second persons guard in the demonstration.
const (
	demoCard    = "9555100000000031"
	demoPIN     = "73910552" // as in the scripts
	demoMember  = points.MemberID(1003)
	demoMaker   = "lihua"
	demoChecker = "wangwei"
)

// demoMasters are the terminals with keys, and the algorithms of their master keys.
var demoMasters = []struct { //nolint:gochecknoglobals // never written.
	terminal, merchant string
	algorithm          certs.Algorithm
}{{"T0000005", "M00000000000001", certs.TDES}, {"T0000006", "M00000000000003", certs.AES128}}

// demoAct is what an operator did, or was refused.
type demoAct struct {
	Operator string `json:"operator"`
	Act      string `json:"act"`
	Result   string `json:"result"`
}

// demoPerson is an operator of the demonstration. What the person knows is kept nowhere.
type demoPerson struct {
	name                 string
	password, uri, token points.Secret
	client               *app.Client // signed in
}

// prepareGuards makes the terminals' master keys, as if they had been put into them by
// hand, and lets the owner of a folder that is kept act as an operator.
func (d *demo) prepareGuards() error {
	err := d.keys.open(func(store *certs.Keystore) error {
		return store.Update(func(c *certs.Changes) error {
			for _, m := range demoMasters {
				who, err := sim.ParseIdentity(m.terminal, m.merchant)
				if err != nil {
					return err
				}
				if _, err := c.Generate(certs.NewKey{Name: certs.TerminalMasterName(who.Merchant, who.Terminal), Usage: certs.TerminalMaster, Algorithm: m.algorithm}); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	path := filepath.Join(d.dir, config.FileName)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	text = bytes.Replace(text, []byte(`owner: ""`), []byte("owner: "+demoMaker), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil { //nolint:gosec // our own, made a moment ago.
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// keysOf gives a terminal of a scene its keys.
func (d *demo) keysOf(who sim.Identity, set string) (*sim.Keys, error) {
	if set == "" {
		return nil, nil //nolint:nilnil // a terminal without keys is a terminal.
	}
	known, err := certs.ParseKeySet(set)
	if err != nil {
		return nil, err
	}
	return masterOf(&d.keys, who, known)
}

// guarded plays what keys, PINs, operators and rules guard. It returns a client that an
// operator has signed in with: from then on nobody else is served.
func (d *demo) guarded(ctx context.Context, owner *app.Client) (*app.Client, error) {
	if err := d.setPIN(ctx, owner); err != nil {
		return nil, err
	}
	if err := d.play(ctx, sim.SceneKeyed); err != nil {
		return nil, err
	}
	state, err := owner.PIN(ctx, demoCard)
	if err != nil {
		return nil, err
	}
	d.check("three wrong PINs locked the card's PIN", state.Locked, fmt.Sprintf("%s, %d tries", state.Card, state.Tries))
	maker, checker, err := d.enrolBoth(ctx, owner)
	if err != nil {
		return nil, err
	}
	if _, err := maker.client.SetPIN(ctx, app.PINChange{Card: demoCard, Note: "case 18"}); err != nil {
		return nil, err
	}
	d.act(maker, "unlock the PIN of "+state.Card, "done")
	if err := d.play(ctx, sim.SceneOpened); err != nil {
		return nil, err
	}
	if err := d.adjust(ctx, maker, checker); err != nil {
		return nil, err
	}
	if err := d.risk(ctx, maker, checker); err != nil {
		return nil, err
	}
	t := new(table)
	t.row("OPERATOR", "ACT", "RESULT")
	for _, a := range d.report.Operators {
		t.row(a.Operator, a.Act, a.Result)
	}
	return maker.client, d.show("Operators", t)
}

// setPIN gives the card its PIN, which leaves here as a block under a key of the keystore.
func (d *demo) setPIN(ctx context.Context, client *app.Client) error {
	pan, err := points.ParsePAN(demoCard)
	if err != nil {
		return err
	}
	change := app.PINChange{Card: demoCard, Operator: demoMaker, Key: pinEntryKey, Tries: book.MinPINTries}
	err = d.keys.open(func(store *certs.Keystore) error {
		key, err := store.Use(pinEntryKey, certs.ZonePIN, now())
		if err != nil {
			return err
		}
		return encipherPIN(key, []byte(demoPIN), pan, &change)
	})
	if err != nil {
		return err
	}
	_, err = client.SetPIN(ctx, change)
	return err
}

func (d *demo) act(who *demoPerson, act, result string) {
	d.report.Operators = append(d.report.Operators, demoAct{who.name, act, result})
}

// enrolBoth makes two operators, who choose their passwords and sign in. From the second one
// on acts need two persons, without anybody asking for it.
func (d *demo) enrolBoth(ctx context.Context, owner *app.Client) (maker, checker *demoPerson, err error) {
	if maker, err = d.enrol(ctx, owner, owner, demoMaker, book.RoleAdmin|book.RoleOperator|book.RoleApprover); err != nil {
		return nil, nil, err
	}
	if checker, err = d.enrol(ctx, owner, maker.client, demoChecker, book.RoleApprover|book.RoleViewer); err != nil {
		return nil, nil, err
	}
	status, err := maker.client.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	d.act(checker, "be the second person", "acts wait for one from now on")
	d.check("acts need a second person as soon as there is one", status.Policy.TwoPersons == book.TwoPersons, status.Policy.TwoPersons.String())
	return maker, checker, nil
}

// enrol lets by invite a person, who enrols and signs in.
func (d *demo) enrol(ctx context.Context, door, by *app.Client, name string, roles book.Roles) (*demoPerson, error) {
	changed, err := by.PutOperator(ctx, app.OperatorChange{Name: name, Roles: roles, Invite: true})
	if err != nil {
		return nil, err
	}
	p := &demoPerson{name: name, password: points.Secret(rand.Text())}
	d.people = append(d.people, p)
	joined, err := door.Join(ctx, app.Joining{Name: name, Code: changed.Code, Password: p.password})
	if err != nil {
		return nil, err
	}
	p.uri = joined.URI
	code, err := certs.OneTimeCode(string(p.uri), now().Time())
	if err != nil {
		return nil, err
	}
	session, err := door.Login(ctx, app.SignIn{Name: name, Password: p.password, Code: points.Secret(code)})
	if err != nil {
		return nil, err
	}
	p.token, p.client = session.Token, door.In(string(session.Token))
	d.act(p, "enrol, and sign in with a password and a one-time code", roles.String())
	return p, nil
}

// adjust corrects a balance, which one person proposes and another approves.
func (d *demo) adjust(ctx context.Context, maker, checker *demoPerson) error {
	what := fmt.Sprintf("give member %d 200 points of 901", demoMember)
	done, err := maker.client.Adjust(ctx, app.Adjustment{Holder: app.Holder{Member: demoMember}, Program: 901, Amount: 200, Note: "case 19"})
	if err != nil {
		return err
	}
	d.act(maker, what, "pending: "+done.RRN)
	_, err = maker.client.Approve(ctx, app.Decision{RRN: done.RRN})
	refused := points.ReasonOf(err)
	d.act(maker, "approve "+done.RRN, "refused: "+refused.String())
	d.check("nobody approves their own act", err != nil && done.Pending != "", refused.English())
	approved, err := checker.client.Approve(ctx, app.Decision{RRN: done.RRN, Note: "seen"})
	if err != nil {
		return err
	}
	d.act(checker, "approve "+done.RRN, "done: "+approved.RRN)
	return nil
}

// risk sets a rule that declines a sale, and asks what it had to say.
func (d *demo) risk(ctx context.Context, maker, checker *demoPerson) error {
	rule := book.RiskRule{Name: "large sale", Programs: []points.ProgramID{901}, Measure: book.SumOf, Window: book.OneTransaction, Limit: 300, Action: book.Decline}
	set, err := maker.client.SetRisk(ctx, app.RiskSetting{Rules: book.RiskRules{Version: 1, Rules: []book.RiskRule{rule}}, Operator: maker.name, Note: "spring"})
	if err != nil {
		return err
	}
	d.act(maker, "let no sale of 901 above 300 points through", "pending: "+set.RRN)
	approved, err := checker.client.Approve(ctx, app.Decision{RRN: set.RRN, Note: "seen"})
	if err != nil {
		return err
	}
	d.act(checker, "approve "+set.RRN, "done: "+approved.RRN)
	from := len(d.report.Steps)
	if err := d.play(ctx, sim.SceneCapped); err != nil {
		return err
	}
	detail, err := maker.client.Detail(ctx, d.report.Steps[from].RRN)
	if err != nil {
		return err
	}
	if detail.Risk == nil || detail.Risk.Decided == nil {
		return errors.New("demo: the record of the declined sale names no rule")
	}
	d.report.Risk = detail.Risk.English()
	d.check("a rule on risk declined the large sale, and its record says so", detail.Risk.Decided.Name == rule.Name, d.report.Risk)
	return nil
}
