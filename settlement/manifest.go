package settlement

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// policy is the digest of all else that files depend on: members with their classes,
// names, caps and covers, the models, programmes and merchants, and how files are made.
func (b *basis) policy(opts *Options) tariff.Digest {
	roll := netting.Policy(b.roll, b.models)
	text := fmt.Appendf(nil, "lianfen settlement policy 1\n%x\noperator %d %q mode %d twin %t signed %t zone %q\n", roll, opts.Operator, opts.Name, opts.Mode, opts.Twin, opts.Key != nil, opts.Zone.String())
	for i := range b.setting.Parties {
		p := &b.setting.Parties[i]
		text = fmt.Appendf(text, "member %d %q cap %d cover %d %d %d %d\n", p.Member, p.Name, p.Cap, p.Cover.Prefund, p.Cover.PrefundHaircut, p.Cover.Collateral, p.Cover.CollateralHaircut)
	}
	for _, id := range slices.Sorted(maps.Keys(b.setting.Programs)) {
		p := b.setting.Programs[id]
		text = fmt.Appendf(text, "programme %d %q %q %d\n", id, p.Code, p.Name, p.Scale)
	}
	merchants := slices.SortedFunc(maps.Keys(b.setting.Merchants), func(x, y points.MerchantID) int { return bytes.Compare(x[:], y[:]) })
	for _, id := range merchants {
		text = fmt.Appendf(text, "merchant %s %q\n", id[:], b.setting.Merchants[id])
	}
	if opts.Bank != nil { // Runs without one keep the digest that they had before there was any.
		text = fmt.Appendf(text, "bank %x\n", opts.Bank.digest())
	}
	return sha256.Sum256(text)
}

// together is how many files are read or synced at a time.
const together = 8

// proveBytes is how much of a file is hashed at a time: some of these are in the
// processor's cache.
const proveBytes = 1 << 17

// proveFolder holds every file of a folder against its manifest, and the manifest
// against the digest that the run has. Files that the witness knows are not read; nil
// knows none.
func (r *Runner) proveFolder(folder, manifest string, known *witness) error {
	text, err := os.ReadFile(filepath.Join(folder, ManifestName))
	if err != nil {
		return fmt.Errorf("files of the run: %w", err)
	}
	if digest := sha256.Sum256(text); hexOf(digest) != manifest {
		return points.Errorf(points.FormatError, "%s: SHA-256 %s, the run says %s", filepath.Join(folder, ManifestName), brief(hexOf(digest)), brief(manifest))
	}
	lines := bytes.Count(text, []byte("\n"))
	r.progress.begin(StepProve, uint64(lines)) //nolint:gosec // not negative.
	var group errgroup.Group
	group.SetLimit(together)
	buffers := make(chan []byte, together)
	for range together {
		buffers <- make([]byte, proveBytes)
	}
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for scanner.Scan() {
		digest, name, ok := bytes.Cut(scanner.Bytes(), []byte("  "))
		if !ok {
			return points.Errorf(points.FormatError, "%s: %q is no line of it", ManifestName, scanner.Text())
		}
		path, want := filepath.Join(folder, filepath.FromSlash(string(name))), string(digest)
		if info, err := os.Lstat(path); err == nil && known.knows(string(name), info) {
			r.progress.add(1)
			continue
		}
		group.Go(func() error {
			defer r.progress.add(1)
			buffer := <-buffers
			defer func() { buffers <- buffer }()
			return proveFile(path, want, buffer)
		})
	}
	return group.Wait() //nolint:wrapcheck // they say which file.
}

func proveFile(path, want string, buffer []byte) (err error) {
	file, err := os.Open(path) //nolint:gosec // of the run's own folder.
	if err != nil {
		return fmt.Errorf("files of the run: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	hash := sha256.New()
	if _, err := io.CopyBuffer(hash, struct{ io.Reader }{file}, buffer); err != nil { // A file's own way makes a buffer for each.
		return fmt.Errorf("files of the run: %w", err)
	}
	if is := hex.EncodeToString(hash.Sum(nil)); is != want {
		return points.Errorf(points.FormatError, "%s: SHA-256 %s, %s says %s", path, brief(is), ManifestName, brief(want))
	}
	return nil
}

// syncAll makes everything in a folder durable.
func syncAll(folder string) error {
	var group errgroup.Group
	group.SetLimit(together)
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			group.Go(func() error { return syncFolder(path) })
		}
		return err
	})
	return errors.Join(err, group.Wait())
}

// mustDigest reads a digest that this package has written.
func mustDigest(text string) (d tariff.Digest) {
	_, _ = hex.Decode(d[:], []byte(text)) // What is no digest is zero, which no run has.
	return d
}
