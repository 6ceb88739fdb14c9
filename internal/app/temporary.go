package app

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// TemporaryAsk asks for the temporary sets of a cycle, of the one that runs where none is named.
type TemporaryAsk struct {
	SettleAsk
	Member tariff.Member `json:"member,omitempty"` // 0: of everybody, and the operator's
}

// TemporarySets is what was written of them.
type TemporarySets struct {
	Folder string              `json:"folder"`
	Date   points.BusinessDate `json:"business_date"`
	Cycle  uint8               `json:"cycle"`
	Files  uint64              `json:"files"`
}

// Where a stream of temporary sets says which cycle it is of.
const (
	cycleDateHeader = "Lianfen-Business-Date"
	cycleHeader     = "Lianfen-Cycle"
)

// temporary streams temporary sets as a tar file. They are made on the disk of the switch
// first, so that what goes wrong with them is told before anything is sent, and a slow
// connection holds up nothing else; nothing of them is left there.
func (a *App) temporary(w http.ResponseWriter, r *http.Request) {
	var ask TemporaryAsk
	err := decodeBody(w, r, &ask)
	var run *settlement.Run
	var folder string
	if err == nil {
		folder, run, err = a.temporarySets(r.Context(), &ask)
	}
	if err != nil {
		refuse(w, whyEnded(r.Context(), err))
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set(cycleDateHeader, strconv.FormatUint(uint64(run.Cut.Date), 10))
	w.Header().Set(cycleHeader, strconv.FormatUint(uint64(run.Cut.Cycle), 10))
	w.Header().Add("Trailer", exportedTrailer)
	w.Header().Add("Trailer", faultTrailer)
	sent, err := sendFolder(r.Context(), patient{a, w}, folder)
	if err := errors.Join(err, os.RemoveAll(folder)); err != nil {
		w.Header().Set(faultTrailer, strconv.Quote(whyEnded(r.Context(), err).Error()))
		return
	}
	w.Header().Set(exportedTrailer, strconv.FormatUint(sent, 10))
}

func (a *App) temporarySets(ctx context.Context, ask *TemporaryAsk) (string, *settlement.Run, error) {
	order, err := a.order(ctx, &ask.SettleAsk)
	if err != nil {
		return "", nil, err
	}
	if ask.Run == "" && ask.Date == 0 {
		now, err := a.runs(ctx)
		if err != nil {
			return "", nil, err
		}
		return a.settlement.Temporary(ctx, now.date, now.cycle, ask.Member, order)
	}
	date, cycle, err := a.asked(ctx, &ask.SettleAsk)
	if err != nil {
		return "", nil, err
	}
	return a.settlement.Temporary(ctx, date, cycle, ask.Member, order)
}

// sendFolder writes a folder's files as a tar file, and counts them. The list of a whole run
// is not among them: what is in no run has none.
func sendFolder(ctx context.Context, w io.Writer, folder string) (sent uint64, err error) {
	out := tar.NewWriter(w)
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		name, outside := filepath.Rel(folder, path)
		if err := errors.Join(err, outside, context.Cause(ctx)); err != nil || entry.IsDir() || name == settlement.ManifestName {
			return err
		}
		sent++
		return sendFile(out, path, filepath.ToSlash(name))
	})
	if err := errors.Join(err, out.Close()); err != nil {
		return sent, fmt.Errorf("temporary sets: %w", err)
	}
	return sent, nil
}

func sendFile(out *tar.Writer, path, name string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // it names the path.
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err //nolint:wrapcheck // as above.
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: info.Size()}); err != nil {
		return err //nolint:wrapcheck // the caller says what it is.
	}
	_, err = io.CopyN(out, file, info.Size())
	return err
}

// SettleTemporary writes temporary sets into the folder, which must not be there yet. After an
// error it has a part of them.
func (c *Client) SettleTemporary(ctx context.Context, ask TemporaryAsk, folder string) (sets TemporarySets, err error) {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return sets, fmt.Errorf("temporary sets: want a folder that is not there yet: %w", err)
	}
	response, err := c.send(ctx, http.MethodPost, "settle/temporary", ask)
	if err != nil {
		return sets, errors.Join(err, os.Remove(folder))
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	sets.Folder = folder
	date, wrong := strconv.ParseUint(response.Header.Get(cycleDateHeader), 10, 32)
	cycle, odd := strconv.ParseUint(response.Header.Get(cycleHeader), 10, 8)
	sets.Date, sets.Cycle = points.BusinessDate(date), uint8(cycle)
	took, err := takeFolder(response.Body, folder)
	if fault := response.Trailer.Get(faultTrailer); fault != "" {
		return sets, fmt.Errorf("admin settle temporary: %s", fault)
	}
	sets.Files = took
	if err := errors.Join(err, wrong, odd); err != nil {
		return sets, fmt.Errorf("admin settle temporary: %w", err)
	}
	if told := response.Trailer.Get(exportedTrailer); told != strconv.FormatUint(took, 10) {
		return sets, fmt.Errorf("admin settle temporary: it broke off: %d files of %q", took, told)
	}
	return sets, nil
}

// takeFolder reads a tar file of sets into a folder, out of which no name leads.
func takeFolder(r io.Reader, folder string) (took uint64, err error) {
	in := tar.NewReader(r)
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // The trailers come behind the last byte.
			return took, err
		}
		if err != nil {
			return took, err //nolint:wrapcheck // the caller says what it is.
		}
		set, name := filepath.Split(filepath.FromSlash(head.Name))
		if !validSet(filepath.Clean(set)) || !validSetFile(name) || head.Typeflag != tar.TypeReg {
			return took, fmt.Errorf("%q is no file of a set", head.Name)
		}
		if err := os.MkdirAll(filepath.Join(folder, set), 0o700); err != nil {
			return took, err //nolint:wrapcheck // it names the path.
		}
		if err := writeNightFile(filepath.Join(folder, set, name), in, head.Size); err != nil {
			return took, err
		}
		took++
	}
}

// validSet reports whether a name can be that of a set's folder: a member's eight digits, or
// the operator's.
func validSet(name string) bool {
	if name == settlement.OperatorFolder {
		return true
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return err == nil && len(name) == len("10000001") && n > 0
}

func validSetFile(name string) bool {
	_, known := files.ParseName(name)
	return known || name == files.SumsName || name == files.JournalName || name == files.StatementName
}
