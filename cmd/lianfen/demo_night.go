package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// Names in the folder of the demonstration.
const (
	demoSets    = "night"           // leads to what members got
	demoKey     = "settlement.key"  // signs it
	demoSigners = "allowed_signers" // what partners check it with, for ssh-keygen -Y verify
)

// demoNight is the night of the demonstration, for machines.
type demoNight struct {
	Run    *settlement.Run `json:"run"`
	Folder string          `json:"folder"`
	Sets   []demoSet       `json:"sets"`
}

// demoSet is what a member got, and whether it proves itself.
type demoSet struct {
	Member string `json:"member"`
	Files  int    `json:"files"`
	Items  uint64 `json:"items"`
	Broken uint64 `json:"broken"`
	Signed string `json:"signature"`
}

// demoLead is how long before the day the rates of the demonstration are approved: they
// come into force five minutes later, and are so before the first message.
const demoLead = 6 * time.Minute

// clock is the switch's: behind while rates are approved, right while the day goes on.
func (d *demo) clock() points.Timestamp { return now() - points.Timestamp(d.early.Load()) }

// prepareNight makes the key that signs what members get and names it in the
// configuration. The clock starts before the day.
func (d *demo) prepareNight() error {
	d.early.Store(demoLead.Microseconds())
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, files.Signer)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	path := filepath.Join(d.dir, config.FileName)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	head, section, found := strings.Cut(string(text), "\nsettlement:\n")
	if !found {
		return errors.New("demo: the configuration has no settlement section")
	}
	section = strings.Replace(section, "\n  key: \"\"\n", "\n  key: "+demoKey+"\n", 1)
	return errors.Join(
		os.WriteFile(filepath.Join(d.dir, demoKey), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(filepath.Join(d.dir, demoKey+".pub"), []byte(line+"\n"), 0o600),
		os.WriteFile(filepath.Join(d.dir, demoSigners), files.AppendSigner(nil, key), 0o600),
		os.WriteFile(path, []byte(head+"\nsettlement:\n"+section), 0o600)) //nolint:gosec // the folder that the demonstration has made for itself.
}

// terms puts rates and fees in force: what a point is worth, and what clearing costs.
func (d *demo) terms(ctx context.Context, client *app.Client) error {
	from := d.clock().Add(demoLead - 30*time.Second).String()
	worth := []app.RateTerms{
		{Program: 901, From: from, Value: "1.25"}, {Program: 902, From: from, Value: "0.8"}, {Program: 903, From: from, Value: "1"},
	}
	if _, err := client.ProposeRates(ctx, app.RateSetting{Rates: worth, Operator: "demo", Second: "demo-second", Note: "opening rates"}); err != nil {
		return err
	}
	if err := d.swapTerms(ctx, client, from); err != nil {
		return err
	}
	fees, err := app.ReadFees(strings.NewReader("from: " + from + `
rows:
  - {kind: RDM, interchange_ppm: 5000, ppm: 3000, min: 1, vat_ppm: 60000}
  - {kind: RDM, mcc: 5411, interchange_ppm: 2000, ppm: 1500, vat_ppm: 60000}
  - {kind: EAR, ppm: 1000, min: 1, vat_ppm: 60000}
  - {kind: SWP, vat_ppm: 60000}
`))
	if err != nil {
		return err
	}
	_, err = client.ProposeFees(ctx, app.FeeSetting{FeeTerms: fees, Operator: "demo", Second: "demo-second", Note: "opening fees"})
	d.early.Store(0)
	return err
}

// settle runs the night of the day that has ended: one command runs it, another person
// approves and publishes it, and every member's set is proved as its partner would.
func (d *demo) settle(ctx context.Context) error {
	maker, checker := d.people[0].client, d.people[1].client
	ran, err := maker.Settle(ctx, "run", app.SettleAsk{}, nil)
	if err != nil {
		return err
	}
	d.check("the night is computed and checked, and waits for a second person", ran.Outcome == app.SettleWaits, string(ran.Outcome))
	if ran.Outcome != app.SettleWaits {
		return fmt.Errorf("demo: settlement: %s", ran.Problem)
	}
	_, err = maker.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	d.check("who has run the night cannot approve it", points.ReasonOf(err) == points.NeedsSecondPerson, points.ReasonOf(err).String())
	done, err := checker.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	if err != nil {
		return err
	}
	d.report.Night = &demoNight{Run: done.Run, Folder: done.Folder}
	if err := d.show("The night", nightTable(done.Run)); err != nil {
		return err
	}
	again, err := maker.Settle(ctx, "run", app.SettleAsk{}, nil)
	d.check("the night run again comes to the same and is posted once", err == nil && again.Outcome == app.SettleDone && again.Run.Posting == done.Run.Posting, fmt.Sprintf("journal %d", done.Run.Posting))
	if err != nil {
		return err
	}
	if err := errors.Join(d.netted(ctx, maker, done.Folder, done.Run), d.proveSets(done.Folder)); err != nil {
		return err
	}
	dir, err := filepath.Abs(d.dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	target, err := filepath.Rel(dir, done.Folder)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return os.Symlink(target, filepath.Join(d.dir, demoSets)) //nolint:wrapcheck // it names both.
}

func nightTable(r *settlement.Run) *table {
	t := new(table)
	t.row("CHECK", "SEVERITY", "RESULT", "FOUND")
	for i := range r.Checks {
		c := &r.Checks[i]
		t.row(c.Name, c.Severity, resultOf(c), c.Found)
	}
	return t
}

// proveSets proves what each member got from its files alone.
func (d *demo) proveSets(folder string) error {
	keys, err := publicKeys(filepath.Join(d.dir, demoKey+".pub"))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	t := new(table)
	t.row("MEMBER", "FILES", "ITEMS", "BROKEN", "SIGNATURE")
	broken := uint64(0)
	for _, e := range entries {
		if !e.IsDir() || e.Name() == settlement.OperatorFolder {
			continue
		}
		report, err := files.Verify(os.DirFS(filepath.Join(folder, e.Name())), nil, files.Check{Keys: keys, Scale: files.Scale})
		if err != nil {
			return err //nolint:wrapcheck // it says which file.
		}
		set := demoSet{Member: e.Name(), Files: len(report.Files), Broken: report.Broken, Signed: report.Signature}
		for i := range report.Files {
			if name, ok := files.ParseName(report.Files[i].Name); ok && name.File == files.DET && name.Ext == "txt" {
				set.Items += report.Files[i].Lines
			}
		}
		broken += report.Broken
		if set.Signed != "valid" {
			broken++
		}
		d.report.Night.Sets = append(d.report.Night.Sets, set)
		t.row(set.Member, set.Files, set.Items, set.Broken, set.Signed)
	}
	d.check("every member's files prove themselves: signature, digests, every line computed again",
		broken == 0 && slices.ContainsFunc(d.report.Night.Sets, func(s demoSet) bool { return s.Items > 0 }), fmt.Sprintf("%d sets", len(d.report.Night.Sets)))
	return d.show("What members got", t)
}
