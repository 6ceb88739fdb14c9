package link

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of bad frames: the label of link_bad_frames_total.
const (
	badEmpty     = "empty"
	badTooLong   = "too_long"
	badHalf      = "half"
	badTruncated = "truncated"
	badOutgoing  = "outgoing"
)

// Metrics counts what the connections of one listener, or of one issuer link,
// do. Redialling uses the same Metrics again.
type Metrics struct {
	// inFlight is counted per frame by many goroutines; a gauge would compare
	// and swap a float for each.
	inFlight atomic.Int64

	open         prometheus.Gauge
	accepted     prometheus.Counter
	acceptErrors prometheus.Counter
	refused      *prometheus.CounterVec // reason
	closed       *prometheus.CounterVec // reason

	framesIn, framesOut prometheus.Counter
	bytesIn, bytesOut   prometheus.Counter
	badFrames           *prometheus.CounterVec // kind
	lateReplies         prometheus.Counter
	coalesced           prometheus.Histogram
	inFlightNow         prometheus.GaugeFunc
}

// NewMetrics registers the metrics of one listener or link with reg, under the
// constant label listener. Its error is the registerer's: two of the same name
// are refused.
func NewMetrics(reg prometheus.Registerer, listener string) (*Metrics, error) {
	m := newMetrics()
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"listener": listener}, reg)
	for _, c := range []prometheus.Collector{
		m.open, m.accepted, m.acceptErrors, m.refused, m.closed, m.framesIn, m.framesOut,
		m.bytesIn, m.bytesOut, m.badFrames, m.lateReplies, m.coalesced, m.inFlightNow,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("link: metrics of listener %q: %w", listener, err)
		}
	}
	return m, nil
}

// newMetrics makes metrics that nobody collects yet.
func newMetrics() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "link", Name: name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "link", Name: name, Help: help}, []string{label})
	}
	m := &Metrics{
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "link", Name: "connections", Help: "Connections that are open.",
		}),
		accepted:     counter("accepted_total", "Connections accepted or dialled, with their handshake done."),
		acceptErrors: counter("accept_errors_total", "Accepts that failed and were tried again."),
		refused:      counters("refused_total", "Connections turned away before their first frame, by reason.", "reason"),
		closed:       counters("closed_total", "Connections that ended, by reason.", "reason"),
		framesIn:     counter("frames_in_total", "Frames handed over."),
		framesOut:    counter("frames_out_total", "Frames written."),
		bytesIn:      counter("bytes_in_total", "Bytes read, length prefixes included."),
		bytesOut:     counter("bytes_out_total", "Bytes written, length prefixes included."),
		badFrames:    counters("bad_frames_total", "Frames that were not handed over or not sent, by kind.", "kind"),
		lateReplies:  counter("replies_after_close_total", "Answers to a connection that was gone."),
		coalesced: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "link", Name: "frames_per_write", Help: "Frames that one write took.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
	}
	m.inFlightNow = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "link", Name: "in_flight", Help: "Frames handed over and not yet answered or dropped.",
	}, func() float64 { return float64(m.inFlight.Load()) })
	m.preset()
	return m
}

// preset makes every series exist from the start, at 0: a rate over a series
// that appears with its first event misses that event.
func (m *Metrics) preset() {
	for _, r := range reasons {
		m.closed.WithLabelValues(r.label)
	}
	m.closed.WithLabelValues(handlerReason)
	for _, reason := range []error{ErrTooManyConnections, ErrTooManyOfSource, ErrTooManyOfIdentity, ErrHandshake, ErrShutdown, ErrSilent} {
		m.refused.WithLabelValues(labelOf(reason))
	}
	for _, kind := range []string{badEmpty, badTooLong, badHalf, badTruncated, badOutgoing} {
		m.badFrames.WithLabelValues(kind)
	}
}

// ended counts a connection that ends for reason, and the bad frame that it may
// have ended with.
func (m *Metrics) ended(reason error) {
	m.open.Dec()
	m.closed.WithLabelValues(labelOf(reason)).Inc()
	for _, bad := range []struct {
		err  error
		kind string
	}{
		{ErrFrameEmpty, badEmpty},
		{ErrFrameTooLong, badTooLong},
		{ErrHalfFrame, badHalf},
		{ErrTruncated, badTruncated},
	} {
		if errors.Is(reason, bad.err) {
			m.badFrames.WithLabelValues(bad.kind).Inc()
		}
	}
}
