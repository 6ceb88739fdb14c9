package settlement_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

const (
	ulid      = "01KJJQZ3A0000000000000000A"
	otherULID = "01KJJQZ3A0000000000000000B"
	morning   = points.Timestamp(1_772_467_500_000_000)
)

// china is the zone of the made-up day.
func china() *time.Location { return time.FixedZone("CST", 8*3600) }

// newKey makes a key to sign with.
func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return key
}

// oneModel settles everything in one model.
func oneModel(t testing.TB, model netting.Model) *netting.Models {
	t.Helper()
	models, err := netting.NewModels(1, []netting.Rule{{One: netting.Any, Other: netting.Any, Model: model}})
	require.NoError(t, err)
	return models
}

// night is a runner over a made-up day.
type night struct {
	*settlement.Runner
	day  *settlement.Synthetic
	opts settlement.Options
}

func newNight(t testing.TB, day *settlement.Synthetic, change func(*settlement.Options)) *night {
	t.Helper()
	n := &night{day: day, opts: settlement.Options{
		Folder: t.TempDir(), Operator: 90_000_001, Name: "联分", Code: "test", Workers: 2, Models: oneModel(t, netting.MNET),
		Zone: china(), Twin: true, Clock: func() points.Timestamp { return morning },
	}}
	if change != nil {
		change(&n.opts)
	}
	n.restart(t)
	return n
}

// restart opens the folder again, as a new process does.
func (n *night) restart(t testing.TB) {
	t.Helper()
	var err error
	n.Runner, err = settlement.NewRunner(n.day, n.opts)
	require.NoError(t, err)
	require.NoError(t, n.Clean())
}

// A note says what run it is of by its name; one that says another in it, which would become
// a part of paths that are removed, is refused.
func TestNoteOfAnotherRun(t *testing.T) {
	n := newNight(t, madeUp(t, 20, 2), nil)
	_, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	other := filepath.Join(t.TempDir(), "other.tmp")
	require.NoError(t, os.Mkdir(other, 0o700))
	away, err := filepath.Rel(n.opts.Folder, strings.TrimSuffix(other, ".tmp"))
	require.NoError(t, err)
	note := filepath.Join(n.opts.Folder, ulid+".json")
	text, err := os.ReadFile(note)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(note, bytes.Replace(text, []byte(ulid), []byte(away), 1), 0o600))
	n.restart(t) // One bad note does not keep the switch from starting.
	run, err := n.Load(ulid)
	if err == nil {
		err = n.Void(t.Context(), run, order("wang"), "to see what goes")
	}
	require.DirExists(t, other)
	require.ErrorContains(t, err, "is of another run")
}

func madeUp(t testing.TB, items uint64, members int) *settlement.Synthetic {
	t.Helper()
	day, err := settlement.NewSynthetic(items, members, 1)
	require.NoError(t, err)
	require.NoError(t, day.Naive(t.Context()))
	return day
}

func order(by string) settlement.Order { return settlement.Order{At: morning, By: by, ID: ulid} }

// publish takes the run of the day to its end.
func (n *night) publish(t testing.TB) *settlement.Run {
	t.Helper()
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	if run.State == settlement.Checked {
		require.NoError(t, n.Approve(t.Context(), run, order("wang")))
	}
	require.NoError(t, n.Publish(t.Context(), run, order("wang")))
	return run
}

// tree reads all files of a folder.
func tree(t testing.TB, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		all[name] = string(text)
		return err
	}))
	return all
}

// A night that nothing signs goes on with a warning, before anything is computed and among the
// checks of its run; a key that is there when it is computed counts.
func TestUnsignedIsWarnedOf(t *testing.T) {
	signed := func(checks []settlement.Check) (found []settlement.Check) {
		for _, c := range checks {
			if c.Name == settlement.CheckSigned {
				found = append(found, c)
			}
		}
		return found
	}
	n := newNight(t, madeUp(t, 200, 4), nil)
	before, err := n.Prepare(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	run := n.publish(t)
	for _, checks := range [][]settlement.Check{signed(before), signed(run.Checks)} {
		require.Len(t, checks, 1)
		require.Equal(t, []any{settlement.Warn, false}, []any{checks[0].Severity, checks[0].Pass})
		require.Contains(t, checks[0].Found, "nothing is signed")
		require.Contains(t, checks[0].Do, "settle signers")
	}
	killed := errors.New("killed")
	key := newKey(t)
	n = newNight(t, madeUp(t, 200, 4), func(o *settlement.Options) {
		o.Step = func(step string) error { return map[string]error{"cut": killed}[step] }
	})
	_, err = n.Run(t.Context(), 20260302, 1, order("li"))
	require.ErrorIs(t, err, killed)
	n.opts.Key, n.opts.Step = key, nil
	n.restart(t)
	late := signed(n.publish(t).Checks)
	require.Len(t, late, 1)
	require.True(t, late[0].Pass, "%+v", late)
}

// A run goes through its states, publishes nothing before its time, and every member's
// set is proved by the verification that partners use.
func TestRun(t *testing.T) {
	key := newKey(t)
	n := newNight(t, madeUp(t, 20_000, 10), func(o *settlement.Options) { o.Key = key })
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	require.Equal(t, settlement.Checked, run.State)
	for _, c := range run.Checks {
		require.True(t, c.Pass, "%s: %s", c.Name, c.Found)
	}
	require.Len(t, run.Checks, 12)
	require.ErrorContains(t, n.Publish(t.Context(), run, order("wang")), "what is published is APPROVED: somebody else approves it first, with: lianfen settle approve "+run.ID)
	require.NoDirExists(t, filepath.Join(n.opts.Folder, ulid))
	require.NoError(t, n.Approve(t.Context(), run, order("wang")))
	require.NoError(t, n.Publish(t.Context(), run, order("wang")))
	require.NoDirExists(t, filepath.Join(n.opts.Folder, ulid+".tmp"))
	require.EqualValues(t, 20_001, run.Posting)

	entries, err := os.ReadDir(filepath.Join(n.opts.Folder, ulid))
	require.NoError(t, err)
	sets := 0
	for _, e := range entries {
		if !e.IsDir() || e.Name() == settlement.OperatorFolder {
			continue
		}
		sets++
		report, err := files.Verify(os.DirFS(filepath.Join(n.opts.Folder, ulid, e.Name())), nil, files.Check{Keys: []ssh.PublicKey{key.PublicKey()}, Scale: settlement.Scale})
		require.NoError(t, err)
		require.Empty(t, report.Breaches[:min(3, len(report.Breaches))], e.Name())
		require.True(t, report.OK)
	}
	require.Equal(t, 10, sets)

	again, err := n.Run(t.Context(), 20260302, 1, settlement.Order{At: morning + 1, By: "li", ID: otherULID})
	require.NoError(t, err)
	require.Equal(t, ulid, again.ID, "what is published is not run again, it is proved")
	require.Equal(t, settlement.Published, again.State)
	require.ErrorContains(t, n.Void(t.Context(), again, order("li"), "x"), "it stays")
	stages := make([]string, 0, len(run.Stages))
	for _, s := range run.Stages {
		stages = append(stages, s.State.String())
	}
	require.Equal(t, "OPEN CUT COMPUTED CHECKED APPROVED PUBLISHED", strings.Join(stages, " "))
}

// strangers is a day of which one member is not on the roll.
type strangers struct {
	*settlement.Synthetic
	gone tariff.Member
}

func (s *strangers) Setting(ctx context.Context) (settlement.Setting, error) {
	setting, err := s.Synthetic.Setting(ctx)
	setting.Parties = slices.DeleteFunc(slices.Clone(setting.Parties), func(p settlement.Party) bool { return p.Member == s.gone })
	return setting, err
}

// Kept is what a ledger keeps that leaves out the items of the stranger.
func (s *strangers) Kept(ctx context.Context, cut settlement.Cut) (kept settlement.Kept, err error) {
	nets, moves := map[tariff.Member]points.Amount{}, map[settlement.Move]points.Amount{}
	setting, err := s.Setting(ctx)
	if err != nil {
		return kept, err
	}
	var v tariff.Valuation
	err = s.Entries(ctx, cut.First, cut.Last, func(e *settlement.Entry) error {
		gone := func(leg tariff.Leg) bool { return leg.Debtor == s.gone || leg.Creditor == s.gone }
		if tariff.Value(setting.Rates, setting.Fees, &e.Item, &v) != tariff.OK || slices.ContainsFunc(v.Legs(), gone) {
			return nil
		}
		for _, leg := range v.Legs() {
			nets[leg.Debtor] -= leg.Amount
			nets[leg.Creditor] += leg.Amount
		}
		at := settlement.Move{Program: e.Program, Acquirer: e.Acquirer}
		switch {
		case e.Kind == tariff.KindRDM || e.Of == tariff.KindRDM:
			moves[at] += e.Amount
		case e.Kind == tariff.KindEAR || e.Of == tariff.KindEAR:
			moves[at] -= e.Amount
		}
		return nil
	})
	for member, net := range nets {
		kept.Members = append(kept.Members, settlement.Live{Member: member, Net: netting.SumOf(net)})
	}
	for move, amount := range moves {
		if move.Amount = amount; amount != 0 {
			kept.Moves = append(kept.Moves, move)
		}
	}
	slices.SortFunc(kept.Moves, func(a, b settlement.Move) int {
		return cmp.Or(cmp.Compare(a.Program, b.Program), cmp.Compare(a.Acquirer, b.Acquirer))
	})
	return kept, err
}

// Items of who is not on the roll are exceptions, and in nobody's file: neither in those
// of the members on their other side.
func TestStrangersAreExceptions(t *testing.T) {
	day := madeUp(t, 2_000, 6)
	setting, err := day.Setting(t.Context())
	require.NoError(t, err)
	n := newNight(t, day, nil)
	n.Runner, err = settlement.NewRunner(&strangers{day, setting.Parties[4].Member}, n.opts)
	require.NoError(t, err)
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	require.Equal(t, settlement.Checked, run.State)
	require.NotZero(t, run.Exceptions)
	require.Equal(t, uint64(2_000), run.Items+run.Exceptions)
	require.NoDirExists(t, filepath.Join(n.Folder(run), setting.Parties[4].Member.String()))
}
