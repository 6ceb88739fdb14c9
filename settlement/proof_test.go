package settlement_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/tools"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// P3: one worker and five, and whatever order chunks end in, come to the same positions,
// and to the same files byte for byte (P4).
func TestWorkersComeToTheSame(t *testing.T) {
	day := madeUp(t, 70_000, 12)
	var first *settlement.Run
	var want map[string]string
	for workers := range 5 {
		n := newNight(t, day, func(o *settlement.Options) { o.Workers, o.Twin = workers+1, false })
		run, err := n.Run(t.Context(), 20260302, 1, order("li"))
		require.NoError(t, err)
		if first == nil {
			first, want = run, tree(t, filepath.Join(n.opts.Folder, ulid+".tmp"))
			continue
		}
		require.Equal(t, first.Positions, run.Positions)
		require.Equal(t, first.Input, run.Input)
		got := tree(t, filepath.Join(n.opts.Folder, ulid+".tmp"))
		for name, text := range got {
			if strings.Contains(name, "DET") || strings.Contains(name, "STM") {
				require.Equal(t, want[name], text, name)
			}
		}
	}
}

// P4: the same day run twice is the same file set; run again after it was published, it is
// proved and left alone; a day that has become another one is refused and named.
func TestRunTwice(t *testing.T) {
	day := madeUp(t, 5_000, 6)
	one, two := newNight(t, day, nil), newNight(t, day, nil)
	one.publish(t)
	day = madeUp(t, 5_000, 6) // Posted nowhere yet.
	two.day = day
	two.restart(t)
	two.publish(t)
	require.Equal(t, tree(t, filepath.Join(one.opts.Folder, ulid)), tree(t, filepath.Join(two.opts.Folder, ulid)))

	other, err := settlement.NewSynthetic(5_000, 6, 2)
	require.NoError(t, err)
	two.day = other
	two.restart(t)
	_, err = two.Run(t.Context(), 20260302, 1, order("li"))
	require.ErrorIs(t, err, settlement.ErrDiffers)
	require.ErrorContains(t, err, "input (")

	two.opts.Code = "test 2"
	two.day = day
	two.restart(t)
	_, err = two.Run(t.Context(), 20260302, 1, order("li"))
	require.ErrorContains(t, err, "program version (test 2, was test)")
}

// What was published and then touched is noticed.
func TestTouchedFiles(t *testing.T) {
	n := newNight(t, madeUp(t, 2_000, 4), nil)
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	path := filepath.Join(n.opts.Folder, ulid+".tmp", "10000000", "day.journal")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(text, '\n'), 0o600))
	require.NoError(t, n.Approve(t.Context(), run, order("wang")))
	require.ErrorContains(t, n.Publish(t.Context(), run, order("wang")), "day.journal")
	run, err = n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	require.Equal(t, settlement.Approved, run.State, "the files are made again, and are those that were approved")
	require.NoError(t, n.Publish(t.Context(), run, order("wang")))
	published := filepath.Join(n.opts.Folder, ulid, "10000000", "day.journal")
	require.NoError(t, os.WriteFile(published, append(text, '\n'), 0o600))
	_, err = n.Run(t.Context(), 20260302, 1, order("li"))
	require.ErrorIs(t, err, settlement.ErrDiffers)
}

// P9: a position that the ledger kept otherwise, by the smallest unit, stops the run, and
// it goes on once that is mended.
func TestTamperedPositionStopsTheRun(t *testing.T) {
	n := newNight(t, madeUp(t, 2_000, 4), nil)
	n.day.Tamper(1, 1)
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.ErrorIs(t, err, settlement.ErrCheck)
	require.ErrorContains(t, err, "live")
	require.Equal(t, settlement.Computed, run.State)
	require.Error(t, n.Approve(t.Context(), run, order("wang")))
	require.Error(t, n.Publish(t.Context(), run, order("wang")))
	n.day.Tamper(1, -1)
	require.Equal(t, settlement.Published, n.publish(t).State)
}

// P9: so does a movement of points that the ledger kept and the run has not computed.
func TestTamperedMoveStopsTheRun(t *testing.T) {
	day := madeUp(t, 2_000, 4)
	n := newNight(t, day, nil)
	var err error
	n.Runner, err = settlement.NewRunner(&moved{day}, n.opts)
	require.NoError(t, err)
	_, err = n.Run(t.Context(), 20260302, 1, order("li"))
	require.ErrorIs(t, err, settlement.ErrCheck)
	require.ErrorContains(t, err, "live")
}

// moved is a day of which the ledger has kept one unit more on a clearing account.
type moved struct{ *settlement.Synthetic }

func (m *moved) Kept(ctx context.Context, cut settlement.Cut) (settlement.Kept, error) {
	kept, err := m.Synthetic.Kept(ctx, cut)
	kept.Moves = slices.Clone(kept.Moves)
	kept.Moves[0].Amount++
	return kept, err //nolint:wrapcheck // a test.
}

// P5: files whose lines do not come to the positions stop the run, also where their number is
// right.
func TestOtherLinesStopTheRun(t *testing.T) {
	n := newNight(t, madeUp(t, 2_000, 4), nil)
	var err error
	n.Runner, err = settlement.NewRunner(&wavering{Synthetic: n.day}, n.opts)
	require.NoError(t, err)
	_, err = n.Run(t.Context(), 20260302, 1, order("li"))
	require.ErrorIs(t, err, settlement.ErrCheck)
	require.ErrorContains(t, err, "complete")
}

// wavering is a day with another amount in the pass that writes the files.
type wavering struct {
	*settlement.Synthetic
	passes int
}

func (w *wavering) Entries(ctx context.Context, first, last points.Position, visit func(*settlement.Entry) error) error {
	w.passes++
	return w.Synthetic.Entries(ctx, first, last, func(e *settlement.Entry) error { //nolint:wrapcheck // a test.
		if w.passes > 1 && e.Kind == tariff.KindRDM && e.Position > 1_000 {
			e.Amount += 1_000
		}
		return visit(e)
	})
}

// P8: another program, awk, recomputes every line of the detail files from its points and its
// rate, sums what it has come to up by member, and comes to the figures of the net position
// file.
func TestAwkComesToTheSame(t *testing.T) {
	awk, err := exec.LookPath("awk")
	if err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "awk is not installed")
	}
	n := newNight(t, madeUp(t, 30_000, 10), nil)
	n.publish(t)
	said, nets := byAwk(t, awk, filepath.Join(n.opts.Folder, ulid))
	require.Len(t, said, 10)
	require.Equal(t, said, nets)
	story := filepath.Join("testdata", "story")
	said, nets = byAwk(t, awk, story)
	require.Len(t, said, 5)
	require.Equal(t, said, nets, "of the golden day, with swaps, disputes and adjustments")
}

// A line whose value does not follow from its points, or whose net not from its parts, is
// named by awk: each of these figures is recomputed, not read.
func TestAwkFindsLines(t *testing.T) {
	awk, err := exec.LookPath("awk")
	if err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "awk is not installed")
	}
	text, err := os.ReadFile(filepath.Join("testdata", "story", "20000001", "QZ_DET_20000001_A_20260302_01_1of1.txt"))
	require.NoError(t, err)
	line := lineOf(t, string(text), "75") // 299 × 12347/3 = 1230584.33
	for what, change := range map[string]struct{ from, to string }{
		"value": {"C000000001230584", "C000000001230585"}, "points": {"C000000000000299", "C000000000000300"},
		"rate": {"000000012347", "000000012348"}, "net": {"C000000001220739", "C000000001220740"}, "fee": {"D000000003483", "D000000003484"},
	} {
		require.Equal(t, 1, strings.Count(line, change.from), what)
		path := filepath.Join(t.TempDir(), "QZ_DET_20000001_A_20260302_01_1of1.txt")
		changed := strings.Replace(string(text), line, strings.Replace(line, change.from, change.to, 1), 1)
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
		out, err := exec.CommandContext(t.Context(), awk, recompute, path).CombinedOutput()
		require.Error(t, err, what)
		require.Contains(t, string(out), "line 00000000000000000075", what)
	}
}

// recompute computes every line of detail files again, and prints the sum of each member. awk
// has floating point only: whole numbers below 2^53 are exact in it, and what is not below
// is refused. Points times numerator over denominator is divided out digit by digit
// (times), halves go to the even one. Of what undoes a part a value may be a
// unit beside it. A swap's issuer owes the value, of which std is what was granted: there net
// follows, less its own share; and what undoes a swap is not told from what undoes a
// sale, so that it may do the one or the other. On us there is no value, of a share no
// more than the share.
const recompute = `
function field(from, digits,   v) { v = substr($0, from + 1, digits) + 0; return substr($0, from, 1) == "D" ? -v : v }
function abs(v) { return v < 0 ? -v : v }
# times sets whole and rest of a * n / d, without a product of more than 2^53.
function times(a, n, d,   i, digits, part) {
	whole = int(n / d) * a; n = n % d; rest = 0; part = 0
	digits = sprintf("%.0f", a)
	for (i = 1; i <= length(digits); i++) {
		rest = rest * 10 + substr(digits, i, 1) * n
		part = part * 10 + int(rest / d); rest = rest % d
	}
	whole += part
	if (whole >= 9007199254740992) { print "too wide: line " substr($0, 17, 20); exit bad = 1 }
}
function wrong(what, is, want) { printf "%s of line %s: %.0f, not %.0f\n", what, substr($0, 17, 20), is, want; bad = 1 }
/^HD/ { member = substr($0, 33, 8); role = substr($0, 42, 1) }
/^TX/ {
	kind = substr($0, 38, 3); undoing = kind ~ /^(RFD|RVS|CBK|REP)$/; byhand = kind ~ /^(ADJ|FEE)$/
	amt = field(204, 15); num = substr($0, 230, 12) + 0; den = substr($0, 243, 12) + 0
	std = field(256, 15); ichg = field(273, 12); swfee = field(287, 12); vat = field(301, 12); other = field(315, 12); net = field(329, 15)
	sum = std + ichg + swfee + vat + other
	if (sum != net) wrong("net", net, sum)
	times(abs(amt), num, den)
	if (role != "T" && (2 * rest > den || (2 * rest == den && whole % 2 == 1))) whole++
	worth = amt < 0 ? -whole : whole
	onus = role == "A" && substr($0, 42, 8) == substr($0, 60, 8)
	if (byhand) { if (net != worth) wrong("net", net, worth) }
	else if (role == "S" || onus) { if (std != 0) wrong("std", std, 0) }
	else if (role == "I" && kind == "SWP") { if (abs(net) > abs(worth) || abs(net) < abs(std)) wrong("net", net, worth); swaps++ }
	else if (role == "T" && kind == "SWP") { if (std - worth != 0 && std - worth != (rest > 0)) wrong("std", std, worth) }
	else if (undoing) { if (abs(std - worth) > 1 && !(role == "I" && ichg == 0 && abs(std) <= abs(worth) && abs(net - worth) <= abs(worth - std) + 2)) wrong("std", std, worth) }
	else if (std != worth) wrong("std", std, worth)
	if (kind ~ /^(RDM|EAR)$/ && !onus && role != "S") sum += worth - std
	total[member] += sum
	if (abs(total[member]) >= 9007199254740992) { print "too wide: member " member; exit bad = 1 }
}
END { if (bad) exit 1; for (m in total) printf "%s %.0f\n", m, total[m] }`

// byAwk is what a run's net position file says of its members, and what the lines of their
// detail files come to.
func byAwk(t *testing.T, awk, folder string) (said, nets map[string]string) {
	t.Helper()
	details, err := filepath.Glob(filepath.Join(folder, "*", "QZ_DET_*.txt"))
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(folder, "operator", "QZ_NET_*.csv"))
	require.NoError(t, err)
	const figures = `BEGIN { FS = "," } $8 == "*" && $9 == "*" && $7 ~ /^[0-9]+$/ { gsub(/[.]/, "", $13); printf "%s %.0f\n", $7, $13 }`
	read := func(program string, files []string) map[string]string {
		out, err := exec.CommandContext(t.Context(), awk, append([]string{program}, files...)...).Output()
		require.NoError(t, err, string(out))
		found := map[string]string{}
		for line := range strings.Lines(string(out)) {
			member, net, _ := strings.Cut(strings.TrimSpace(line), " ")
			found[member] = net
		}
		return found
	}
	return read(figures, files), read(recompute, details)
}

// Wherever a run is stopped, it goes on from there to the same files, posted once.
func TestStoppedAtEveryStep(t *testing.T) {
	day := madeUp(t, 3_000, 6)
	whole := newNight(t, day, nil)
	var steps []string
	whole.opts.Step = func(step string) error { steps = append(steps, step); return nil }
	whole.restart(t)
	whole.publish(t)
	want := tree(t, filepath.Join(whole.opts.Folder, ulid))
	require.Equal(t, []string{"cut", "computed", "checked", "approved", "synced", "renamed", "posted", "published"}, steps)
	for i, at := range steps {
		t.Run(at, func(t *testing.T) {
			stopped := errors.New("stopped at " + at)
			n := newNight(t, madeUp(t, 3_000, 6), func(o *settlement.Options) {
				o.Step = func(step string) error {
					if step == at {
						return stopped
					}
					return nil
				}
			})
			run, err := n.Run(t.Context(), 20260302, 1, order("li"))
			if err == nil {
				err = n.Approve(t.Context(), run, order("wang"))
			}
			if err == nil {
				err = n.Publish(t.Context(), run, order("wang"))
			}
			require.ErrorIs(t, err, stopped)
			if i < slices.Index(steps, "renamed") {
				require.NoDirExists(t, filepath.Join(n.opts.Folder, ulid), "nothing is visible")
			}
			n.opts.Step = nil
			n.restart(t)
			n.finish(t)
			require.Equal(t, want, tree(t, filepath.Join(n.opts.Folder, ulid)))
			require.NoDirExists(t, filepath.Join(n.opts.Folder, ulid+".tmp"))
		})
	}
}

// finish takes what a stop has left to its end.
func (n *night) finish(t testing.TB) {
	t.Helper()
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	if run.State == settlement.Checked {
		require.NoError(t, n.Approve(t.Context(), run, order("wang")))
	}
	require.NoError(t, n.Publish(t.Context(), run, order("wang")))
	require.EqualValues(t, 3_001, run.Posting, "it is posted once")
}

// A process that is killed at any step, and again at each later one, leaves what the next
// one takes to the same end.
func TestKilledAtEveryStep(t *testing.T) {
	if folder := os.Getenv("LIANFEN_TEST_NIGHT"); folder != "" {
		killedNight(t, folder, os.Getenv("LIANFEN_TEST_STEP"))
		return
	}
	whole := newNight(t, madeUp(t, 3_000, 6), nil)
	whole.publish(t)
	want := tree(t, filepath.Join(whole.opts.Folder, ulid))
	folder := t.TempDir()
	for _, step := range []string{"cut", "computed", "rendering", "checked", "approved", "synced", "renamed", "posted", "published", ""} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilledAtEveryStep$")
		cmd.Env = append(os.Environ(), "LIANFEN_TEST_NIGHT="+folder, "LIANFEN_TEST_STEP="+step)
		out, err := cmd.CombinedOutput()
		if step == "" {
			require.NoError(t, err, string(out))
			continue
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s: %s", step, out)
		require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s: %s", step, out) //nolint:forcetypeassert // on Unix.
	}
	require.Equal(t, want, tree(t, filepath.Join(folder, ulid)))
	require.NoDirExists(t, filepath.Join(folder, ulid+".tmp"))
}

// killedNight is a process that dies at a step.
func killedNight(t *testing.T, folder, at string) {
	t.Helper()
	die := func(step string) error {
		if step == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
	day := madeUp(t, 3_000, 6)
	n := newNight(t, day, func(o *settlement.Options) { o.Folder, o.Step = folder, die })
	if at == "rendering" { // In the middle of the files.
		n.Runner = nil
		runner, err := settlement.NewRunner(&dying{day, die}, n.opts)
		require.NoError(t, err)
		n.Runner = runner
	}
	n.finish(t)
}

// dying is a day whose second pass ends the process.
type dying struct {
	*settlement.Synthetic
	die func(string) error
}

func (d *dying) Entries(ctx context.Context, first, last points.Position, visit func(*settlement.Entry) error) error {
	return d.Synthetic.Entries(ctx, first, last, func(e *settlement.Entry) error { //nolint:wrapcheck // a test.
		if first != last && last < points.Position(65_536) && last-first < 4096 && e.Position == 2_000 {
			if _, err := os.Stat(filepath.Join(os.Getenv("LIANFEN_TEST_NIGHT"), ulid+".tmp")); err == nil {
				return d.die("rendering")
			}
		}
		return visit(e)
	})
}

// What a check of severity second person found wants another approver than who ran it; what
// waits is not published, what is void is not either, and only the latest can be void.
func TestSecondPerson(t *testing.T) {
	day := madeUp(t, 2_000, 4)
	n := newNight(t, day, nil)
	lacking := &lacking{Synthetic: day}
	var err error
	n.Runner, err = settlement.NewRunner(lacking, n.opts)
	require.NoError(t, err)
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	name, failed := settlement.Failed(run.Checks, settlement.SecondPerson)
	require.True(t, failed)
	require.Equal(t, settlement.CheckExceptions, name)
	require.EqualValues(t, 1, run.Exceptions)
	alone, err := n.Propose(t.Context(), run, order("li"))
	require.NoError(t, err)
	require.False(t, alone)
	err = n.Approve(t.Context(), run, order("li"))
	require.Equal(t, points.NeedsSecondPerson, points.ReasonOf(err))
	require.Error(t, n.Publish(t.Context(), run, order("wang")))
	require.NoError(t, n.Void(t.Context(), run, order("li"), "once more"))
	require.Error(t, n.Publish(t.Context(), run, order("wang")))
	require.NoDirExists(t, filepath.Join(n.opts.Folder, ulid+".tmp"))
	again, err := n.Run(t.Context(), 20260302, 1, settlement.Order{At: morning, By: "li", ID: otherULID})
	require.NoError(t, err)
	require.NoError(t, n.Approve(t.Context(), again, order("wang")))
	require.NoError(t, n.Publish(t.Context(), again, order("wang")))
	list := tree(t, filepath.Join(n.opts.Folder, otherULID, "operator"))["QZ_EXC_90000001_M_20260302_01_1of1.csv"]
	require.Contains(t, list, "ORIGINAL_UNKNOWN")
	told := 0
	for name, text := range tree(t, filepath.Join(n.opts.Folder, otherULID)) {
		if strings.Contains(name, "QZ_EXC_") && !strings.HasPrefix(name, "operator") && strings.Contains(text, "ORIGINAL_UNKNOWN") {
			told++
		}
	}
	require.Equal(t, 2, told, "its acquirer and its issuer hear of it, and nobody else")
}

// Whatever of an item stands in a file or counts in a position is in the digest of the
// input.
func TestInputDigest(t *testing.T) {
	day := madeUp(t, 100, 4)
	inputs := map[string]bool{}
	for _, change := range []func(*settlement.Entry){
		func(*settlement.Entry) {}, func(e *settlement.Entry) { e.Amount++ }, func(e *settlement.Entry) { e.MCC++ }, func(e *settlement.Entry) { e.At++ },
		func(e *settlement.Entry) { e.Issuer++ }, func(e *settlement.Entry) { e.Program++ }, func(e *settlement.Entry) { e.Line.STAN++ },
		func(e *settlement.Entry) { e.Line.RRN[0]++ }, func(e *settlement.Entry) { e.Line.Account[0]++ }, func(e *settlement.Entry) { e.Why = "X" },
	} {
		n := newNight(t, day, nil)
		runner, err := settlement.NewRunner(&changed{day, change}, n.opts)
		require.NoError(t, err)
		run, err := runner.Run(t.Context(), 20260302, 1, order("li"))
		if err != nil {
			require.ErrorIs(t, err, settlement.ErrCheck)
		}
		inputs[run.Input] = true
	}
	require.Len(t, inputs, 10)
}

// changed is a day with one item changed.
type changed struct {
	*settlement.Synthetic
	change func(*settlement.Entry)
}

func (c *changed) Entries(ctx context.Context, first, last points.Position, visit func(*settlement.Entry) error) error {
	return c.Synthetic.Entries(ctx, first, last, func(e *settlement.Entry) error { //nolint:wrapcheck // a test.
		if e.Position == 50 {
			c.change(e)
		}
		return visit(e)
	})
}

// Files that are made again and are not those that were noted are refused, whatever the
// key says: another signing key makes other signatures.
func TestOtherFilesAreRefused(t *testing.T) {
	n := newNight(t, madeUp(t, 500, 4), func(o *settlement.Options) { o.Key = newKey(t) })
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(n.opts.Folder, ulid+".tmp")))
	n.opts.Key = newKey(t)
	n.restart(t)
	_, err = n.Run(t.Context(), 20260302, 1, order("li"))
	require.ErrorIs(t, err, settlement.ErrDiffers)
	require.ErrorContains(t, err, "manifest")
	require.NoError(t, n.Void(t.Context(), run, order("li"), "another key"))
}

// lacking is a day with an item that nobody can clear.
type lacking struct{ *settlement.Synthetic }

func (l *lacking) Entries(ctx context.Context, first, last points.Position, visit func(*settlement.Entry) error) error {
	return l.Synthetic.Entries(ctx, first, last, func(e *settlement.Entry) error { //nolint:wrapcheck // a test.
		if err := visit(e); err != nil || e.Position != 7 {
			return err
		}
		x := *e
		x.Why, x.What = "ORIGINAL_UNKNOWN", "no original was found"
		return visit(&x)
	})
}

// A comparison names every position that other rates move, by how much, and the items that
// explain most; of a day with itself there is nothing to name.
func TestCompare(t *testing.T) {
	n := newNight(t, madeUp(t, 5_000, 6), nil)
	now, err := n.Now(t.Context(), 20260302, 1)
	require.NoError(t, err)
	same, err := n.Compare(t.Context(), now, now)
	require.NoError(t, err)
	require.Empty(t, same.Positions)
	require.Empty(t, same.Items)
	terms := tariff.Terms{Program: points.MinProgram, Side: tariff.Clear, Num: 1, Den: 1}
	other, err := n.Otherwise(t.Context(), now, []tariff.Terms{terms})
	require.NoError(t, err)
	diff, err := n.Compare(t.Context(), now, other)
	require.NoError(t, err)
	require.Len(t, diff.Items, settlement.MostItems)
	require.Positive(t, diff.Differing)
	sum := new(big.Rat)
	for _, p := range diff.Positions {
		before, after, delta := rational(t, p.Before), rational(t, p.After), rational(t, p.Delta)
		require.NotZero(t, delta.Sign())
		require.Zero(t, new(big.Rat).Sub(after, before).Cmp(delta), "%+v", p)
		if p.Counterparty == 0 && p.Code == 0 {
			sum.Add(sum, delta)
		}
	}
	require.Zero(t, sum.Sign(), "what one gains the others lose")
	for i := range diff.Items {
		require.Equal(t, points.MinProgram, diff.Items[i].Program)
		require.Equal(t, max(diff.Items[i].Amount, -diff.Items[i].Amount), max(diff.Items[i].After, -diff.Items[i].After), "one for one")
	}
	require.NoDirExists(t, filepath.Join(n.opts.Folder, ulid+".tmp"), "a comparison writes nothing")
	runs, err := n.Runs()
	require.NoError(t, err)
	require.Empty(t, runs)
}

// A comparison tells of each side what stays without a value, by reason, with its count and
// points: with a rate put in the place of a missing one the items are in the positions.
func TestCompareTellsWhatIsNotCleared(t *testing.T) {
	day := madeUp(t, 2_000, 6)
	n := newNight(t, day, nil)
	runner, err := settlement.NewRunner(&lacking{Synthetic: day}, n.opts)
	require.NoError(t, err)
	n.Runner = runner
	now, err := n.Now(t.Context(), 20260302, 1)
	require.NoError(t, err)
	bare := now
	bare.Rates = tariff.NewRates()
	diff, err := n.Compare(t.Context(), bare, now)
	require.NoError(t, err)
	require.Equal(t, settlement.Counted{Before: diff.Exceptions.Before, After: 1}, diff.Exceptions)
	require.Equal(t, diff.Cleared.Before+diff.Exceptions.Before, diff.Cleared.After+diff.Exceptions.After, "every item is on one side of the line")
	require.Positive(t, diff.Exceptions.Before)
	var before, after uint64
	for _, u := range diff.Uncleared {
		before, after = before+u.Before.Items, after+u.After.Items
		sum, err := strconv.ParseInt(u.Before.Points, 10, 64)
		require.NoError(t, err)
		require.NotZero(t, sum, "%+v", u)
		if u.Reason == "RATE_UNKNOWN" {
			require.Equal(t, settlement.Left{Points: "0"}, u.After, "it has a rate there")
		}
	}
	require.Equal(t, settlement.Counted{Before: before, After: after}, diff.Exceptions)
	require.Equal(t, "RATE_UNKNOWN", diff.Uncleared[0].Reason, "most of them come first")
}

// rational reads a decimal.
func rational(t *testing.T, text string) *big.Rat {
	t.Helper()
	r, ok := new(big.Rat).SetString(text)
	require.True(t, ok, text)
	return r
}

// Every bilateral pair and every member's total agree in all three models, and files are
// proved in each.
func TestModels(t *testing.T) {
	positions := map[string]bool{}
	for _, model := range []netting.Model{netting.MNET, netting.BNET, netting.GROSS} {
		n := newNight(t, madeUp(t, 2_000, 6), func(o *settlement.Options) { o.Models = oneModel(t, model) })
		run := n.publish(t)
		positions[run.Positions] = true
		net := tree(t, filepath.Join(n.opts.Folder, ulid, "operator"))["QZ_NET_90000001_M_20260302_01_1of1.csv"]
		require.True(t, bytes.Contains([]byte(net), fmt.Appendf(nil, ",%v,", model)))
	}
	require.Len(t, slices.Collect(maps.Keys(positions)), 3)
}

// What a member's detail says does not depend on whether it has a twin beside it: without
// one, what the lines of an item share is written once for all of them.
func TestTwinChangesNoDetail(t *testing.T) {
	details := func(twin bool) map[string]string {
		n := newNight(t, madeUp(t, 5_000, 6), func(o *settlement.Options) { o.Twin = twin })
		_, err := n.Run(t.Context(), 20260302, 1, order("li"))
		require.NoError(t, err)
		paths, err := filepath.Glob(filepath.Join(n.opts.Folder, ulid+".tmp", "*", "QZ_DET_*.txt"))
		require.NoError(t, err)
		all := map[string]string{}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			all[filepath.Base(path)] = string(text)
		}
		return all
	}
	with, without := details(true), details(false)
	require.Greater(t, len(with), 6)
	require.Equal(t, slices.Sorted(maps.Keys(with)), slices.Sorted(maps.Keys(without)))
	for name := range with {
		require.Equal(t, with[name], without[name], name)
	}
}

// Kinds and classes settle by different models in one run: each model sums to zero by itself,
// a pair has one payment in BNET which both name, each pair and code one in GROSS, and the
// statement names the payment of each of its entries. What members get is verified, and a
// payment that is another's is noticed.
func TestModelsByKindAndClass(t *testing.T) {
	day := &guaranteed{Synthetic: madeUp(t, 2_000, 6), change: func(s *settlement.Setting) {
		parties := slices.Clone(s.Parties)
		for i := range parties {
			parties[i].Class = netting.Class(1 + i%2)
		}
		s.Parties = parties
	}}
	models, err := netting.NewModels(2, []netting.Rule{
		{Kind: tariff.KindRDM, One: 1, Other: 2, Model: netting.BNET},
		{Kind: tariff.KindEAR, One: netting.Any, Other: netting.Any, Model: netting.GROSS},
		{One: netting.Any, Other: netting.Any, Model: netting.MNET},
	})
	require.NoError(t, err)
	folder := t.TempDir()
	r, err := settlement.NewRunner(day, settlement.Options{
		Folder: folder, Operator: 90_000_001, Name: "联分", Code: "test", Workers: 2, Models: models, Zone: china(), Clock: func() points.Timestamp { return morning },
	})
	require.NoError(t, err)
	run, err := r.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	work := r.Folder(run)
	rows, total, broken, err := files.ReadNet(strings.NewReader(tree(t, filepath.Join(work, "operator"))["QZ_NET_90000001_M_20260302_01_1of1.csv"]), settlement.Scale)
	require.NoError(t, err)
	require.Empty(t, broken)
	require.True(t, total.Net.Zero())
	sums, seen := map[netting.Model]points.Amount{}, map[netting.Model]int{}
	for _, row := range rows {
		if row.Whole() {
			sums[row.Model] += row.Receive - row.Pay
		}
		require.Equal(t, row.Whole() || row.Model != netting.MNET, row.Instruction != "", "%+v", row)
		seen[row.Model]++
	}
	require.Equal(t, map[netting.Model]points.Amount{netting.MNET: 0, netting.BNET: 0, netting.GROSS: 0}, sums)
	require.Len(t, seen, 3)
	const member = "10000000"
	set := tree(t, filepath.Join(work, member))
	report, err := files.Verify(os.DirFS(filepath.Join(work, member)), nil, files.Check{Scale: settlement.Scale})
	require.NoError(t, err)
	require.True(t, report.OK, report.Breaches)
	const pair = "20260302-01-10000000-20000000-BNET"
	require.Contains(t, set["QZ_STM_10000000_M_20260302_01_1of1.xml"], "<AcctSvcrRef>"+pair+"</AcctSvcrRef>")
	require.Contains(t, set["QZ_STM_10000000_M_20260302_01_1of1.xml"], "-EAR-G</AcctSvcrRef>")
	name := filepath.Join(work, member, "QZ_NET_10000000_M_20260302_01_1of1.csv")
	require.NoError(t, os.WriteFile(name, []byte(strings.Replace(set[filepath.Base(name)], pair, "20260302-01-10000000-20000002-BNET", 1)), 0o600))
	report, err = files.Verify(os.DirFS(filepath.Join(work, member)), nil, files.Check{Scale: settlement.Scale})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(report.Breaches, func(b files.Breach) bool { return b.Field == "instruction_id" }), report.Breaches)
}
