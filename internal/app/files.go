package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Proof is what a verification found in order.
type Proof struct {
	Records    uint64              `json:"records"`
	Blocks     uint64              `json:"blocks"`
	Position   points.Position     `json:"position"`
	Posted     string              `json:"posted"`
	Date       points.BusinessDate `json:"business_date"`
	Checkpoint points.Position     `json:"checkpoint"` // whose state was compared; 0: none
	Digest     string              `json:"digest"`
	Index      points.Position     `json:"index"` // up to which the index of statements was proved; 0: it is yet to be made
}

func proofOf(r ledger.Report, index points.Position) Proof {
	return Proof{
		Records: r.Records, Blocks: r.Blocks, Position: r.Position, Posted: r.Posted.String(), Date: r.Date,
		Checkpoint: r.Checkpoint, Digest: fmt.Sprintf("%x", r.Digest), Index: index,
	}
}

// ProofProgress hears how a verification gets on: how many records are done, and of
// how many; first with the journal, then with the index of statements. nil: nobody listens.
type ProofProgress struct {
	Journal, Index func(done, total uint64)
}

// of is who hears of the index, or of the journal.
func (p ProofProgress) of(index bool) func(done, total uint64) {
	hear := p.Journal
	if index {
		hear = p.Index
	}
	if hear == nil {
		return func(uint64, uint64) {}
	}
	return hear
}

// VerifyOffline proves the journal, the state and the index of the store in the folder
// data, which no process may be serving. It opens the store read-only. Errors: a
// [*ledger.BreachError] when an invariant is broken, a [*ledger.IndexError] when only
// the index is damaged.
func VerifyOffline(ctx context.Context, data string, progress ProofProgress) (_ Proof, err error) {
	db, err := openUnserved(data)
	if err != nil {
		return Proof{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	report, err := ledger.VerifyStore(ctx, db, progress.of(false))
	if err != nil {
		return Proof{}, err
	}
	index, err := ledger.VerifyIndex(ctx, db, progress.of(true))
	return proofOf(report, index), err
}

func openUnserved(data string) (*store.Store, error) {
	db, err := store.Open(store.Options{Dir: data, ReadOnly: true})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w (a store that is being served cannot be opened beside: ask its process instead)", err)
	}
	return db, err
}

// proving is one line of a verification's progress; the last one has one of the
// last four fields.
type proving struct {
	Done   uint64              `json:"done,omitempty"`
	Total  uint64              `json:"total,omitempty"`
	Index  bool                `json:"index,omitempty"` // Done and Total are of the index
	Proof  *Proof              `json:"proof,omitempty"`
	Breach *ledger.BreachError `json:"breach,omitempty"`
	Damage *ledger.IndexError  `json:"damage,omitempty"`
	Fault  string              `json:"fault,omitempty"`
}

// provingEvery is how far apart in time lines of progress are.
const provingEvery = 200 * time.Millisecond

// prove verifies, and tells how it gets on, one JSON object a line.
func (a *App) prove(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	tell := func(p proving) {
		_ = errors.Join(control.SetWriteDeadline(a.opts.Clock().Time().Add(requestTime)), lines.Encode(p), control.Flush()) // The peer has gone; ctx ends then.
	}
	var last points.Timestamp
	heard := func(index bool) func(done, total uint64) {
		return func(done, total uint64) {
			if now := a.opts.Clock(); now.Sub(last) >= provingEvery {
				last = now
				tell(proving{Done: done, Total: total, Index: index})
			}
		}
	}
	report, err := a.ledger.Verify(r.Context(), heard(false))
	var index points.Position
	if err == nil {
		index, err = a.projection.Verify(r.Context(), heard(true))
	}
	breach, broken := errors.AsType[*ledger.BreachError](err)
	damage, damaged := errors.AsType[*ledger.IndexError](err)
	switch {
	case broken:
		a.log.Error("verify: an invariant is broken", slog.String("invariant", breach.Invariant), slog.Uint64("position", uint64(breach.Position)))
		tell(proving{Breach: breach})
	case damaged:
		a.log.Error("verify: the index of statements is damaged; lianfen ledger reindex makes it again", slog.Uint64("position", uint64(damage.Position)))
		tell(proving{Damage: damage})
	case err != nil:
		tell(proving{Fault: whyEnded(r.Context(), err).Error()})
	default:
		proof := proofOf(report, index)
		tell(proving{Proof: &proof})
	}
}

// Prove verifies journal, state and index of the running switch, and shows how far it
// is. Errors: as of [VerifyOffline].
func (c *Client) Prove(ctx context.Context, progress ProofProgress) (_ Proof, err error) {
	response, err := c.send(ctx, http.MethodPost, "prove", nothing{})
	if err != nil {
		return Proof{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	for lines := json.NewDecoder(response.Body); ; {
		var p proving
		if err := lines.Decode(&p); err != nil {
			return Proof{}, fmt.Errorf("admin prove: it ended without a result: %w", err)
		}
		switch {
		case p.Proof != nil:
			progress.of(false)(p.Proof.Records, p.Proof.Records)
			progress.of(true)(uint64(p.Proof.Index), uint64(p.Proof.Index))
			return *p.Proof, nil
		case p.Breach != nil:
			return Proof{}, p.Breach
		case p.Damage != nil:
			return Proof{}, p.Damage
		case p.Fault != "":
			return Proof{}, fmt.Errorf("admin prove: %s", p.Fault)
		}
		progress.of(p.Index)(p.Done, p.Total)
	}
}

// BackupTo names the new folder of a backup, as an absolute path where the
// serving process sees it.
type BackupTo struct {
	Dir string `json:"dir"`
}

// BackedUp is what a backup holds.
type BackedUp struct {
	Dir      string              `json:"dir"`
	Position points.Position     `json:"position"`
	Posted   string              `json:"posted"` // of the last record
	Date     points.BusinessDate `json:"business_date"`
	Files    uint64              `json:"night_files"` // of settlement runs and comparisons
	Bytes    int64               `json:"bytes"`       // of all files, those shared with the store included
	Millis   int64               `json:"milliseconds"`
}

// unfinished is what the name of a folder or file ends in until it is whole.
const unfinished = ".partial"

// makeWhole lets build make the folder dir, which must not be there, under
// another name, and gives it its own when all of it is on disk. What was built
// only in part is removed.
func makeWhole(dir string, build func(partial string) error) error {
	partial := dir + unfinished
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return points.Errorf(points.AlreadyExists, "%s is there already; name a new folder", dir)
	}
	if _, err := os.Lstat(partial); !errors.Is(err, fs.ErrNotExist) {
		return points.Errorf(points.AlreadyExists, "%s is there: another run makes it just now, or one was interrupted and has left it; then remove it, and try again", partial)
	}
	if err := build(partial); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("put %s in place: %w", dir, err)
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return fmt.Errorf("put %s in place: %w", dir, err)
	}
	if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
		return fmt.Errorf("put %s in place: %w", dir, err)
	}
	return nil
}

// backup copies the store while it serves: the night's files, then the journal.
func (a *App) backup(ctx context.Context, to BackupTo) (BackedUp, error) {
	if !filepath.IsAbs(to.Dir) {
		return BackedUp{}, points.Errorf(points.FormatError, "backup: %q is not an absolute path", to.Dir)
	}
	began := a.opts.Clock()
	result := BackedUp{Dir: to.Dir}
	err := makeWhole(to.Dir, func(partial string) (err error) {
		if result.Files, err = copyNight(ctx, a.nightFiles, partial, true); err != nil {
			return err
		}
		durable, err := a.ledger.Backup(partial)
		if err != nil {
			return err
		}
		if err := anchorBackup(partial, durable, &result); err != nil {
			return err
		}
		result.Bytes, err = bytesIn(partial)
		return err
	})
	if err != nil {
		return BackedUp{}, fmt.Errorf("backup: %w", err)
	}
	result.Millis = a.opts.Clock().Sub(began).Milliseconds()
	a.log.Info("backup", slog.String("dir", result.Dir), slog.Uint64("position", uint64(result.Position)), slog.Int64("bytes", result.Bytes))
	return result, nil
}

// anchorBackup opens a fresh backup, checks that its journal reaches what was
// durable when it was begun, and sets its anchor at the journal's end.
func anchorBackup(dir string, durable store.Mark, result *BackedUp) (err error) {
	db, err := store.Open(store.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	archive, err := ledger.OpenArchive(db)
	if err != nil {
		return err
	}
	end := archive.End()
	if end.Position < durable.Position || (end.Position == durable.Position && end.Hash != durable.Hash) {
		return fmt.Errorf("%w: the copy ends at position %d, before %d", ledger.ErrBehindAnchor, end.Position, durable.Position)
	}
	last, err := archive.Record(archive.Durable())
	if err != nil {
		return err
	}
	result.Position, result.Posted, result.Date = archive.Durable(), last.Outcome.Posted.String(), last.Outcome.Date
	return db.ResetAnchor(end)
}

func bytesIn(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		sum += info.Size()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return sum, nil
}

// Backup copies the store into the new folder dir, an absolute path.
func (c *Client) Backup(ctx context.Context, dir string) (b BackedUp, err error) {
	return b, c.call(ctx, http.MethodPost, "backup", BackupTo{dir}, &b)
}

// Restoring says what to restore, where to, and how far.
type Restoring struct {
	From string // folder of a backup, or of a store that is not served; with Opener, an encrypted backup
	Data string // new folder
	// Opener opens the encrypted backup From; nil: From is a folder.
	Opener *certs.BackupOpener
	Until  ledger.Until
	Log    *slog.Logger
	// Copied and Proved hear how many records are, and of how many (0: not known).
	Copied, Proved func(done, total uint64)
}

// Restored is a store made from a backup.
type Restored struct {
	Data     string              `json:"data"`
	Position points.Position     `json:"position"`
	Posted   string              `json:"posted"` // of the last record
	Date     points.BusinessDate `json:"business_date"`
	Digest   string              `json:"digest"`
	// Files are those of settlement runs and comparisons. Up to a bound none are restored:
	// they may be of records behind it.
	Files uint64 `json:"night_files"`
}

// Restore makes a new store of a backup's journal up to a bound, and opens it
// once: every record is carried out again from the first on, and has to give the
// outcome that it gave. The backup is opened read-only.
func Restore(ctx context.Context, r Restoring) (result Restored, err error) {
	fill := r.fromFolder
	if r.Opener != nil {
		fill = r.fromSealed
	} else if err := sealedWithoutKey(r.From); err != nil {
		return Restored{}, err
	}
	result.Data = r.Data
	err = makeWhole(r.Data, func(partial string) error {
		if err := store.Create(store.Options{Dir: partial, Log: r.Log}); err != nil {
			return err
		}
		to, err := store.Open(store.Options{Dir: partial, Log: r.Log})
		if err != nil {
			return err
		}
		mark, err := fill(ctx, to, partial, &result)
		if err != nil {
			return errors.Join(err, to.Close())
		}
		return provedOnce(ctx, to, mark, r, &result)
	})
	if err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	return result, nil
}

// provedOnce opens a ledger over the restored store, which proves it, and closes
// both; the checkpoint that is written then makes the next start a short one.
func provedOnce(ctx context.Context, to *store.Store, mark store.Mark, r Restoring, result *Restored) error {
	l, err := ledger.Open(ctx, ledger.Options{Store: to, Progress: r.Proved, Log: r.Log})
	if err != nil {
		return errors.Join(err, to.Close())
	}
	err = l.View(ctx, func(b *book.Book) error {
		digest := b.Digest()
		result.Position, result.Date, result.Digest = b.Position(), b.Date(), fmt.Sprintf("%x", digest)
		return b.Audit()
	})
	if err == nil && uint64(result.Position) != mark.Position {
		err = fmt.Errorf("the restored ledger is at position %d, its journal at %d", result.Position, mark.Position)
	}
	var last book.Record
	if err == nil {
		last, err = l.Record(result.Position)
		result.Posted = last.Outcome.Posted.String()
	}
	return errors.Join(err, l.Close(context.WithoutCancel(ctx)))
}
