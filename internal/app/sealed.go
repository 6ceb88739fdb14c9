package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
)

// SealedBackup is what an encrypted backup holds: the night's files and a journal, and
// nothing else, for the state is made of it again.
type SealedBackup struct {
	File     string              `json:"file"`
	Position points.Position     `json:"position"`
	Posted   string              `json:"posted"` // of the last record
	Date     points.BusinessDate `json:"business_date"`
	Records  uint64              `json:"records"`
	Blocks   uint64              `json:"blocks"`
	Files    uint64              `json:"night_files"` // of settlement runs and comparisons
	Chain    string              `json:"chain"`       // hash of the journal's last block
	Bytes    int64               `json:"bytes"`
	Millis   int64               `json:"milliseconds"`
}

func sealedBackup(file string, r *ledger.JournalReport, files uint64) SealedBackup {
	return SealedBackup{
		File: file, Position: points.Position(r.End.Position), Posted: r.Posted.String(), Date: r.Date,
		Records: r.Records, Blocks: r.Blocks, Files: files, Chain: fmt.Sprintf("%x", r.End.Hash),
	}
}

// journal streams the night's files and the journal, in clear, to an operator's command, which encrypts it.
// That it is whole is told by its own end; why it is not, by the trailer.
func (a *App) journal(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Add("Trailer", exportedTrailer)
	w.Header().Add("Trailer", faultTrailer)
	out := bufio.NewWriterSize(patient{a, w}, 1<<20)
	var end store.Mark
	err := a.writeNight(r.Context(), out)
	if err == nil {
		end, err = a.ledger.WriteJournal(r.Context(), out)
	}
	if err := errors.Join(err, out.Flush()); err != nil {
		w.Header().Set(faultTrailer, strconv.Quote(whyEnded(r.Context(), err).Error()))
		return
	}
	w.Header().Set(exportedTrailer, strconv.FormatUint(end.Position, 10))
	a.log.Info("journal copied", slog.Uint64("position", end.Position))
}

// BackupSealed writes the running switch's journal and the night's files, encrypted, into the new file at path,
// which appears when all of it is on disk. What comes from the switch is proved on its
// way, seal by seal; in clear it is only in the memory of the two processes and on the
// socket between them.
func (c *Client) BackupSealed(ctx context.Context, path string, seal *certs.BackupSeal, clock points.Clock, progress func(done, total uint64)) (b SealedBackup, err error) {
	began := clock()
	err = makeWhole(path, func(partial string) error {
		file, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		report, files, err := c.sealInto(ctx, file, seal, progress)
		if err := errors.Join(err, file.Sync()); err != nil {
			return errors.Join(err, file.Close())
		}
		b = sealedBackup(path, &report, files)
		info, err := file.Stat()
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		b.Bytes = info.Size()
		return nil
	})
	if err != nil {
		return SealedBackup{}, fmt.Errorf("backup: %w", err)
	}
	b.Millis = clock().Sub(began).Milliseconds()
	return b, nil
}

func (c *Client) sealInto(ctx context.Context, w io.Writer, seal *certs.BackupSeal, progress func(done, total uint64)) (report ledger.JournalReport, files uint64, err error) {
	sealed, err := seal.To(w)
	if err != nil {
		return report, 0, err
	}
	response, err := c.send(ctx, http.MethodPost, "journal", struct{}{})
	if err != nil {
		return report, 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	report, files, err = readSealed(ctx, io.TeeReader(bufio.NewReaderSize(response.Body, 1<<20), sealed), progress)
	if fault := response.Trailer.Get(faultTrailer); fault != "" {
		return report, files, fmt.Errorf("admin journal: %s", fault)
	}
	if err != nil {
		return report, files, err
	}
	return report, files, sealed.Close()
}

// readSealed reads the content of an encrypted backup to its end, and proves what can be
// proved without a book.
func readSealed(ctx context.Context, plain io.Reader, progress func(done, total uint64)) (report ledger.JournalReport, files uint64, err error) {
	journal, files, err := readNight(ctx, plain, nil)
	if err != nil {
		return report, files, err
	}
	report, err = ledger.ReadJournal(ctx, journal, progress)
	return report, files, err
}

// openSealed opens an encrypted backup; the reader gives its content in clear.
func openSealed(path string, opener *certs.BackupOpener) (*os.File, io.Reader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("backup: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a file; a folder is restored without a key", certs.ErrNotSealed, path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	plain, err := opener.From(bufio.NewReaderSize(file, 1<<20))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%w (%s)", err, path), file.Close())
	}
	return file, plain, nil
}

// VerifySealed reads an encrypted backup to its end without restoring it: every chunk is
// what was encrypted, every block's seal and the chain hold, every record can be read,
// and all of it is there. That each outcome follows from its command is proved by a
// restore.
func VerifySealed(ctx context.Context, path string, opener *certs.BackupOpener, progress func(done, total uint64)) (b SealedBackup, err error) {
	file, plain, err := openSealed(path, opener)
	if err != nil {
		return SealedBackup{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	report, files, err := readSealed(ctx, plain, progress)
	if err != nil {
		return SealedBackup{}, err
	}
	info, err := file.Stat()
	if err != nil {
		return SealedBackup{}, fmt.Errorf("backup: %w", err)
	}
	b = sealedBackup(path, &report, files)
	b.Bytes = info.Size()
	return b, nil
}

// fromFolder copies the journal of the folder r.From into to, and the night's files into
// partial, unless the restore has a bound.
func (r *Restoring) fromFolder(ctx context.Context, to *store.Store, partial string, result *Restored) (_ store.Mark, err error) {
	from, err := openUnserved(r.From)
	if err != nil {
		return store.Mark{}, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if r.Until == (ledger.Until{}) {
		all := func(visit func(nightFile) error) error { return nightFilesAt(r.From, visit) }
		if result.Files, err = copyNight(ctx, all, partial, false); err != nil {
			return store.Mark{}, err
		}
	}
	return ledger.Restore(ctx, from, to, r.Until, r.Copied)
}

// fromSealed is fromFolder of the encrypted backup r.From.
func (r *Restoring) fromSealed(ctx context.Context, to *store.Store, partial string, result *Restored) (_ store.Mark, err error) {
	file, plain, err := openSealed(r.From, r.Opener)
	if err != nil {
		return store.Mark{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	put, files := putNight(partial), &result.Files
	if r.Until != (ledger.Until{}) {
		put, files = nil, new(uint64)
	}
	journal, n, err := readNight(ctx, plain, put)
	if err != nil {
		return store.Mark{}, err
	}
	*files = n
	return ledger.RestoreJournal(ctx, journal, to, r.Until, r.Copied)
}

// sealedWithoutKey tells that path is a file, which without a key is not restored.
func sealedWithoutKey(path string) error {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return points.Errorf(points.FormatError, "%s is a file: to restore an encrypted backup, name its key with --identity or --passphrase-file", path)
	}
	return nil
}
