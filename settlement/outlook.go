package settlement

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Outlook is what becomes visible and is posted when a run is approved: what a second person has
// to see of it.
type Outlook struct {
	Run        string              `json:"run"`
	Date       points.BusinessDate `json:"date"`
	Cycle      uint8               `json:"cycle"`
	Settles    points.BusinessDate `json:"settles"`
	Items      uint64              `json:"items"`
	Exceptions uint64              `json:"exceptions"`
	Files      uint64              `json:"files"`
	Manifest   string              `json:"manifest"`
	Warnings   []string            `json:"warnings,omitempty"` // checks that did not pass, and what they found
	// Positions are the net figures of all members, the largest first; Sum, of all of them, is zero.
	Positions []NetPosition `json:"positions"`
	Sum       string        `json:"sum"`
}

// NetPosition is what a member gets (or, below zero, pays) in all models together, in standard
// points.
type NetPosition struct {
	Member tariff.Member `json:"member"`
	Net    string        `json:"net"`
}

// Outlook tells of the run whose posting is named. The positions are those of the files that will
// be published: they are read from there, and proved by the manifest that is approved. Where they
// are not, nobody can say what would be approved, and the error says why.
func (r *Runner) Outlook(key, manifest tariff.Digest) (*Outlook, error) {
	run, err := r.postable(key, manifest)
	if err != nil {
		return nil, err
	}
	o := &Outlook{
		Run: run.ID, Date: run.Cut.Date, Cycle: run.Cut.Cycle, Settles: run.Cut.Settles, Items: run.Items, Exceptions: run.Exceptions,
		Files: run.Files, Manifest: run.Manifest,
	}
	for i := range run.Checks {
		if c := &run.Checks[i]; !c.Pass {
			o.Warnings = append(o.Warnings, fmt.Sprintf("%s (%v): %s", c.Name, c.Severity, c.Found))
		}
	}
	rows, err := r.netOf(run)
	if err != nil {
		return nil, fmt.Errorf("settlement run %s: %w", run.ID, err)
	}
	nets := make(map[tariff.Member]netting.Sum)
	sum := netting.Sum{}
	for i := range rows {
		if row := &rows[i]; row.Whole() {
			net := netting.SumOf(row.Receive).Plus(netting.SumOf(-row.Pay))
			nets[row.Member], sum = nets[row.Member].Plus(net), sum.Plus(net)
		}
	}
	o.Positions, o.Sum = largest(nets), sum.Decimal(Scale)
	return o, nil
}

// largest puts net figures in order, the largest debt or claim first.
func largest(nets map[tariff.Member]netting.Sum) []NetPosition {
	members := make([]tariff.Member, 0, len(nets))
	for m := range nets {
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b tariff.Member) int {
		return cmp.Or(absolute(nets[b]).Cmp(absolute(nets[a])), cmp.Compare(a, b))
	})
	list := make([]NetPosition, 0, len(members))
	for _, m := range members {
		list = append(list, NetPosition{m, nets[m].Decimal(Scale)})
	}
	return list
}

// netOf reads the operator's copy of a run's net positions, once the manifest has proved it.
func (r *Runner) netOf(run *Run) ([]files.Position, error) {
	folder := r.Folder(run)
	manifest, err := os.ReadFile(filepath.Join(folder, ManifestName))
	if err != nil {
		return nil, fmt.Errorf("its files: %w; lianfen settle run makes them again", err)
	}
	if digest := hexOf(sha256.Sum256(manifest)); digest != run.Manifest {
		return nil, points.Errorf(points.FormatError, "%s: SHA-256 %s, the run says %s; lianfen settle run makes the files again", ManifestName, brief(digest), brief(run.Manifest))
	}
	name := files.WholeName(files.NET, r.opts.Operator, run.Cut.Date, run.Cut.Cycle, "csv").String()
	text, err := os.ReadFile(filepath.Join(folder, OperatorFolder, name))
	if err != nil {
		return nil, fmt.Errorf("its files: %w; lianfen settle run makes them again", err)
	}
	if line := fmt.Sprintf("%s  %s/%s\n", hexOf(sha256.Sum256(text)), OperatorFolder, name); !strings.Contains(string(manifest), line) {
		return nil, points.Errorf(points.FormatError, "%s/%s is not the file of %s; lianfen settle run makes the files again", OperatorFolder, name, ManifestName)
	}
	rows, _, broken, err := files.ReadNet(bytes.NewReader(text), Scale)
	if err == nil && len(broken) > 0 {
		err = fmt.Errorf("%s/%s: %w", OperatorFolder, name, broken[0])
	}
	return rows, err
}
