package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// story is a published run of two members, with a server for the first.
type story struct {
	opts      DispatchOptions
	home      string // of the first member
	set       Set
	confirmed atomic.Int64
}

const detailName = "QZ_DET_10000001_A_20260216_01_1of1.txt"

// trailer is the last record of a detail file of so many lines that come to a net.
func trailer(lines, net int) string {
	return fmt.Sprintf("TR %012d %012d %020d %012d %020d C%020d C%020d C%020d %020d %064d\r\n", lines, 0, 0, lines, net, net, net, 0, 0, 0)
}

func newStory(t *testing.T) *story {
	t.Helper()
	dir := t.TempDir()
	s := &story{home: filepath.Join(dir, "home")}
	s.set = Set{Run: "01JM8Q4Z6T3V5X7Y9A1B2C3D4E", Date: 20260216, Cycle: 1, Folder: filepath.Join(dir, "run", "01JM8Q4Z6T3V5X7Y9A1B2C3D4E"), Published: now()}
	manifest := ""
	for member, contents := range map[string]map[string]string{
		"10000001": {detailName: "HD\r\n" + trailer(3, 12345), "day.journal": "journal", "SHA256SUMS": "sums", "SHA256SUMS.sig": "signature"},
		"20000001": {"day.journal": "theirs", "SHA256SUMS": "their sums"},
		"operator": {"EXC.csv": "not for members"},
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(s.set.Folder, member), 0o700))
		for name, text := range contents {
			require.NoError(t, os.WriteFile(filepath.Join(s.set.Folder, member, name), []byte(text), 0o600))
			manifest += fmt.Sprintf("%x  %s/%s\n", sha256.Sum256([]byte(text)), member, name)
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.set.Folder, "MANIFEST"), []byte(manifest), 0o600))
	digest := sha256.Sum256([]byte(manifest))
	s.set.Manifest = hex.EncodeToString(digest[:])
	courier, err := NewCourier(dialOpenSSH(t, dir), quick())
	require.NoError(t, err)
	s.opts = DispatchOptions{
		Runs: filepath.Join(dir, "run"), Shelf: filepath.Join(dir, "fetch"), Sets: func() ([]Set, error) { return []Set{s.set}, nil },
		Confirm: func(string) error { s.confirmed.Add(1); return nil }, Due: func(points.Timestamp) points.Timestamp { return 0 },
		Courier: courier, Targets: map[tariff.Member]Target{10000001: {Member: 10000001, Folder: s.home}}, Fetches: []tariff.Member{20000001},
		Clock: now, Look: 5 * time.Millisecond, Asks: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
	return s
}

func now() points.Timestamp { return points.TimestampOf(time.Now()) }

// while runs a dispatch until something holds of it.
func (s *story) while(t *testing.T, holds func(*Dispatch) bool) *Dispatch {
	t.Helper()
	d, err := NewDispatch(s.opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	require.Eventually(t, func() bool { return holds(d) }, 20*time.Second, 2*time.Millisecond, "%+v", d.Rows(""))
	cancel()
	require.NoError(t, <-ended)
	return d
}

// of is the delivery to a member.
func of(d *Dispatch, run string, m tariff.Member) Row {
	for _, row := range d.Rows(run) {
		if row.Member == m {
			return row
		}
	}
	return Row{}
}

// The sums go last and only when all else has arrived; what is there with other bytes is
// left as it is, and told; once somebody has put it aside the rest goes.
func TestSumsGoLast(t *testing.T) {
	s := newStory(t)
	there := filepath.Join(s.home, "20260216-01")
	require.NoError(t, os.MkdirAll(there, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(there, "day.journal"), []byte("another"), 0o600))
	d := s.while(t, func(d *Dispatch) bool { return of(d, s.set.Run, 10000001).Problem != "" })
	require.Contains(t, of(d, s.set.Run, 10000001).Problem, "other bytes")
	require.Equal(t, Published, of(d, s.set.Run, 10000001).State)
	require.FileExists(t, filepath.Join(there, detailName+".ok"))
	require.NoFileExists(t, filepath.Join(there, "SHA256SUMS"))
	text, err := os.ReadFile(filepath.Join(there, "day.journal"))
	require.NoError(t, err)
	require.Equal(t, "another", string(text))

	require.NoError(t, os.Remove(filepath.Join(there, "day.journal")))
	d = s.while(t, func(d *Dispatch) bool { return of(d, s.set.Run, 10000001).State == Delivered })
	require.FileExists(t, filepath.Join(there, "SHA256SUMS.sig.ok"))
	require.Empty(t, of(d, s.set.Run, 10000001).Problem)
}

// A set is acknowledged detail file by detail file, or as a whole; what a member has
// dropped here while nobody was there is taken in at a start, and the run is confirmed
// when all have answered, once.
func TestAcknowledgedAtLast(t *testing.T) {
	s := newStory(t)
	s.while(t, func(d *Dispatch) bool {
		return of(d, s.set.Run, 10000001).State == Delivered && of(d, s.set.Run, 20000001).Ready
	})
	require.Zero(t, s.confirmed.Load())
	detail := sha256.Sum256([]byte("HD\r\n" + trailer(3, 12345)))
	sums := sha256.Sum256([]byte("their sums"))
	require.NoError(t, os.WriteFile(filepath.Join(s.home, "20260216-01", detailName+".ack"), fmt.Appendf(nil, "3,1.2345,%x\r\n", detail), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(s.opts.Shelf, "20000001", "20260216-01", "SHA256SUMS.ack"), fmt.Appendf(nil, "0,0.0000,%x", sums), 0o600))
	d := s.while(t, func(*Dispatch) bool { return s.confirmed.Load() > 0 })
	require.Equal(t, int64(1), s.confirmed.Load())
	require.Equal(t, []State{Acked, Acked}, []State{of(d, s.set.Run, 10000001).State, of(d, s.set.Run, 20000001).State})
	require.Empty(t, d.Rows(""), "nothing is open")
	require.Error(t, d.acked(20000001, "20260216-01/SHA256SUMS", Ack{Lines: 1}))
	require.Error(t, d.acked(20000001, "20260217-01/SHA256SUMS", Ack{}), "of a cycle that was not published")
	require.Error(t, d.acked(20000001, "20260216-01/day.journal", Ack{}), "of a file that is not acknowledged")
	require.Equal(t, Acked, of(d, s.set.Run, 20000001).State)
}

// What is not what was approved leaves the house by no way: a file that was changed on the
// disk, and a run whose list of files is another.
func TestOnlyWhatWasApproved(t *testing.T) {
	for _, member := range []string{"10000001", "20000001"} {
		s := newStory(t)
		require.NoError(t, os.WriteFile(filepath.Join(s.set.Folder, member, "day.journal"), []byte("forged"), 0o600))
		m, ok := memberOf(member)
		require.True(t, ok)
		d := s.while(t, func(d *Dispatch) bool { return of(d, s.set.Run, m).Problem != "" })
		require.Contains(t, of(d, s.set.Run, m).Problem, "not the file that was approved")
		require.Equal(t, Published, of(d, s.set.Run, m).State)
		if member == "10000001" {
			require.NoDirExists(t, s.home)
		} else {
			require.NoDirExists(t, filepath.Join(s.opts.Shelf, member, "20260216-01"))
		}
	}
	s := newStory(t)
	s.set.Manifest = strings.Repeat("0", 64)
	d, err := NewDispatch(s.opts)
	require.NoError(t, err)
	require.ErrorContains(t, d.Refresh(), "not the one that was approved")
	require.Empty(t, d.Rows(""))
}

// What cannot be written down did not happen; a slip that cannot be read is told and
// nothing of its run is carried.
func TestSlips(t *testing.T) {
	s := newStory(t)
	d := s.while(t, func(d *Dispatch) bool { return of(d, s.set.Run, 10000001).State == Delivered })
	folder := filepath.Join(s.opts.Runs, s.set.Run+".delivery")
	require.NoError(t, os.RemoveAll(folder))
	require.NoError(t, os.WriteFile(folder, nil, 0o600))
	_, err := d.ByHand(s.set.Run, 20000001, "li", nil)
	require.Error(t, err)
	require.Equal(t, Published, of(d, s.set.Run, 20000001).State)
	require.NoError(t, os.Remove(folder))
	slip, err := d.ByHand(s.set.Run, 20000001, "li", nil)
	require.NoError(t, err)
	require.Equal(t, Delivered, slip.State)
	_, err = d.ByHand("01JM8Q4Z6T3V5X7Y9A1B2C3D4F", 20000001, "li", nil)
	require.Equal(t, points.UnknownOriginal, points.ReasonOf(err))

	require.NoError(t, os.WriteFile(filepath.Join(folder, "20000001.json"), []byte("{"), 0o600))
	d, err = NewDispatch(s.opts)
	require.NoError(t, err)
	require.ErrorContains(t, d.Refresh(), "20000001.json is not what was written there")
	for _, name := range []string{"../10000001/" + detailName, "/etc/hostname", ".", ""} {
		text := fmt.Sprintf(`{"run":%q,"member":"20000001","state":%q,"files":[{"name":%q}]}`, s.set.Run, Published, name)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "20000001.json"), []byte(text), 0o600))
		require.ErrorContains(t, d.Refresh(), "no name of a file in a set", name)
	}
}

// What is late is what is not acknowledged when its time has come, of what is not
// confirmed; it is warned of in one line a run.
func TestLate(t *testing.T) {
	s := newStory(t)
	s.opts.Due = func(published points.Timestamp) points.Timestamp { return published + 1 }
	s.opts.Confirm = func(string) error { return errors.New("not now") }
	d := s.while(t, func(d *Dispatch) bool { return of(d, s.set.Run, 20000001).Late })
	require.Equal(t, []string{"settlement of 2026-02-16 cycle 1: 2 of 2 members have not acknowledged their files: lianfen settle deliveries " + s.set.Run}, d.Warnings())
	for i, m := range []tariff.Member{10000001, 20000001} {
		want, err := ParseAck(strings.NewReader(d.view(d.known(s.set.Run), m).file("SHA256SUMS").Want))
		require.NoError(t, err)
		_, err = d.ByHand(s.set.Run, m, "li", &want)
		require.NoError(t, err)
		require.Len(t, d.Warnings(), 1-i)
	}
	s.set.Published = now() - points.Timestamp((lookBack + time.Hour).Microseconds())
	d, err := NewDispatch(s.opts)
	require.NoError(t, err)
	require.NoError(t, d.Refresh())
	require.Empty(t, d.Rows(s.set.Run), "what is old is left alone")
}
