package reconcile

import (
	"bufio"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Spill makes temporary files. What is written to one is read back from its start once.
type Spill interface {
	Create() (SpillFile, error)
}

// SpillFile is one temporary file; Close removes it.
type SpillFile interface {
	io.ReadWriteSeeker
	io.Closer
}

// Bounds of sorting.
const (
	// DefaultSortLines is how many lines are sorted in memory: about 32 MiB.
	DefaultSortLines = 1 << 18
	maxRuns          = 4096
	spillBuffer      = 1 << 16
)

// Sort returns the lines of source in the order of the keys, lines of one key in the order
// in which they came. It keeps at most so many lines in memory (0: [DefaultSortLines]) and
// spills the rest. Close the result, which removes what was spilled.
func Sort(source Lines, spill Spill, most int) (*Sorted, error) {
	if most <= 0 {
		most = DefaultSortLines
	}
	s := new(Sorted)
	var line Line
	for {
		ok, err := source.Next(&line)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if !ok {
			break
		}
		if len(s.tail) == most {
			if err := s.spill(spill); err != nil {
				return nil, errors.Join(err, s.Close())
			}
		}
		s.tail = append(s.tail, line)
	}
	sortLines(s.tail)
	if err := s.begin(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func sortLines(lines []Line) {
	slices.SortStableFunc(lines, func(a, b Line) int { return a.Compare(&b.Key) })
}

// Sorted gives sorted lines.
type Sorted struct {
	tail  []Line // sorted, in memory: the youngest run
	runs  []*run
	files []SpillFile
}

// run is a sorted file, or what is in memory, with the line that comes next.
type run struct {
	order int // runs of older lines come first where keys are equal
	next  Line
	from  *bufio.Reader // nil: from memory
	lines []Line
}

// Spilled is how many runs did not fit into memory.
func (s *Sorted) Spilled() int { return len(s.files) }

func (s *Sorted) spill(spill Spill) error {
	if len(s.files) == maxRuns {
		return fmt.Errorf("reconcile: more than %d sorted runs: allow more lines in memory", maxRuns)
	}
	sortLines(s.tail)
	file, err := spill.Create()
	if err != nil {
		return fmt.Errorf("reconcile: spill: %w", err)
	}
	s.files = append(s.files, file)
	w := bufio.NewWriterSize(file, spillBuffer)
	buffer := make([]byte, 0, lineSize)
	for i := range s.tail {
		if _, err := w.Write(s.tail[i].appendTo(buffer)); err != nil {
			return fmt.Errorf("reconcile: spill: %w", err)
		}
	}
	s.tail = s.tail[:0]
	if err := w.Flush(); err != nil {
		return fmt.Errorf("reconcile: spill: %w", err)
	}
	return nil
}

// begin reads the first line of each run.
func (s *Sorted) begin() error {
	for i, file := range s.files {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("reconcile: spill: %w", err)
		}
		s.runs = append(s.runs, &run{order: i, from: bufio.NewReaderSize(file, spillBuffer)})
	}
	s.runs = append(s.runs, &run{order: len(s.files), lines: s.tail})
	open := s.runs[:0]
	for _, r := range s.runs {
		ok, err := r.advance()
		if err != nil {
			return err
		}
		if ok {
			open = append(open, r)
		}
	}
	s.runs = open
	heap.Init((*runHeap)(s))
	return nil
}

func (r *run) advance() (bool, error) {
	if r.from == nil {
		if len(r.lines) == 0 {
			return false, nil
		}
		r.next, r.lines = r.lines[0], r.lines[1:]
		return true, nil
	}
	buffer, err := r.from.Peek(lineSize)
	if err == io.EOF && len(buffer) == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reconcile: spill: %w", err)
	}
	r.next.decode(buffer)
	_, err = r.from.Discard(lineSize)
	return true, err
}

// Next gives the smallest line.
func (s *Sorted) Next(line *Line) (bool, error) {
	if len(s.runs) == 0 {
		return false, nil
	}
	first := s.runs[0]
	*line = first.next
	ok, err := first.advance()
	if err != nil {
		return false, err
	}
	if ok {
		heap.Fix((*runHeap)(s), 0)
	} else {
		heap.Pop((*runHeap)(s))
	}
	return true, nil
}

// Close removes what was spilled.
func (s *Sorted) Close() error {
	var all []error
	for _, file := range s.files {
		all = append(all, file.Close())
	}
	s.files = nil
	return errors.Join(all...)
}

// runHeap orders the runs by their next line.
type runHeap Sorted

// Len is the number of runs that have lines left.
func (h *runHeap) Len() int { return len(h.runs) }

// Less orders by key, then by age of the run.
func (h *runHeap) Less(i, j int) bool {
	if c := h.runs[i].next.Compare(&h.runs[j].next.Key); c != 0 {
		return c < 0
	}
	return h.runs[i].order < h.runs[j].order
}

// Swap swaps two runs.
func (h *runHeap) Swap(i, j int) { h.runs[i], h.runs[j] = h.runs[j], h.runs[i] }

// Push is for the interface: runs are only taken away.
func (h *runHeap) Push(x any) { h.runs = append(h.runs, x.(*run)) }

// Pop takes the last run away.
func (h *runHeap) Pop() any {
	last := h.runs[len(h.runs)-1]
	h.runs = h.runs[:len(h.runs)-1]
	return last
}

// Merge gives the lines of several sorted sources as one, keeping one line of each. Of
// equal keys the earlier source comes first. A source that is not sorted is an error,
// [ErrUnsorted].
func Merge(sources ...Lines) (Lines, error) {
	var m merged
	for order, source := range sources {
		if source == nil {
			continue
		}
		s := &ordered{stream{lines: source}, order}
		if err := s.advance(); err != nil {
			return nil, err
		}
		if s.open {
			m.streams = append(m.streams, s)
		}
	}
	heap.Init(&m)
	return &m, nil
}

// Order notes whether the lines of a source come in the order of the keys, so that it need
// not be sorted when it is read again.
type Order struct {
	last   Key
	broken bool
}

// See takes the next line.
func (o *Order) See(line *Line) {
	o.broken = o.broken || o.last.Compare(&line.Key) > 0
	o.last = line.Key
}

// Kept reports whether all lines so far came in order.
func (o *Order) Kept() bool { return !o.broken }

// ordered is a stream with its place among the others.
type ordered struct {
	stream
	order int
}

type merged struct{ streams []*ordered }

// Next gives the smallest line of all sources.
func (m *merged) Next(line *Line) (bool, error) {
	if len(m.streams) == 0 {
		return false, nil
	}
	first := m.streams[0]
	*line = first.next
	if err := first.advance(); err != nil {
		return false, err
	}
	if first.open {
		heap.Fix(m, 0)
	} else {
		heap.Pop(m)
	}
	return true, nil
}

// Len is the number of sources that have lines left.
func (m *merged) Len() int { return len(m.streams) }

// Less orders by key, then by place.
func (m *merged) Less(i, j int) bool {
	if c := m.streams[i].next.Compare(&m.streams[j].next.Key); c != 0 {
		return c < 0
	}
	return m.streams[i].order < m.streams[j].order
}

// Swap swaps two sources.
func (m *merged) Swap(i, j int) { m.streams[i], m.streams[j] = m.streams[j], m.streams[i] }

// Push is for the interface: sources are only taken away.
func (m *merged) Push(x any) { m.streams = append(m.streams, x.(*ordered)) }

// Pop takes the last source away.
func (m *merged) Pop() any {
	last := m.streams[len(m.streams)-1]
	m.streams = m.streams[:len(m.streams)-1]
	return last
}

// Slice gives lines from memory.
func Slice(lines []Line) Lines { return &slice{lines} }

type slice struct{ lines []Line }

// Next gives the next line.
func (s *slice) Next(line *Line) (bool, error) {
	if len(s.lines) == 0 {
		return false, nil
	}
	*line, s.lines = s.lines[0], s.lines[1:]
	return true, nil
}
