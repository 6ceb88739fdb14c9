package reconcile

// Ahead reads a source on a goroutine of its own, a bounded number of lines ahead, so that
// files are parsed while others are compared. Its goroutine ends at the source's end or
// error, or at Close, which waits for it.
type Ahead struct {
	full  chan batch
	empty chan []Line
	stop  chan struct{}
	done  chan struct{}
	now   batch
	at    int
}

type batch struct {
	lines []Line
	err   error
	last  bool
}

// Bounds of reading ahead.
const (
	aheadLines   = 512
	aheadBatches = 4
)

// ReadAhead begins to read source, which nobody else reads from then on.
func ReadAhead(source Lines) *Ahead {
	a := &Ahead{full: make(chan batch, aheadBatches), empty: make(chan []Line, aheadBatches+1), stop: make(chan struct{}), done: make(chan struct{})}
	for range aheadBatches + 1 {
		a.empty <- make([]Line, 0, aheadLines)
	}
	go func() {
		defer close(a.done)
		a.read(source)
	}()
	return a
}

func (a *Ahead) read(source Lines) {
	for {
		var b batch
		select {
		case lines := <-a.empty:
			b.lines = lines[:aheadLines]
		case <-a.stop:
			return
		}
		n := 0
		for n < aheadLines && !b.last {
			ok, err := source.Next(&b.lines[n])
			if ok && err == nil {
				n++
			} else {
				b.err, b.last = err, true
			}
		}
		b.lines = b.lines[:n]
		select {
		case a.full <- b:
		case <-a.stop:
			return
		}
		if b.last {
			return
		}
	}
}

// Next gives the next line.
func (a *Ahead) Next(line *Line) (bool, error) {
	for a.at == len(a.now.lines) {
		if a.now.last {
			return false, a.now.err
		}
		if a.now.lines != nil {
			a.empty <- a.now.lines[:0]
		}
		a.now, a.at = <-a.full, 0
	}
	*line = a.now.lines[a.at]
	a.at++
	return true, nil
}

// Close ends the reading.
func (a *Ahead) Close() {
	close(a.stop)
	<-a.done
}
