package pointswitch

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/points"
)

// metrics counts answers. Labels are the functions and reasons of package
// points: bounded, and never a card, a terminal or a merchant.
type metrics struct {
	requests   *prometheus.CounterVec
	latency    prometheus.Histogram
	unanswered prometheus.Counter
	malformed  *prometheus.CounterVec
	repeats    prometheus.Counter
	closes     *prometheus.CounterVec
	uploaded   prometheus.Counter
	// Messages whose MAC was not right, by cause.
	unauthentic *prometheus.CounterVec
	foreign     *prometheus.CounterVec
	// Its two series.
	foreignAcquirer, foreignTerminal prometheus.Counter
	shed                             prometheus.Counter
	// Requests over a rate, by whose.
	overConnection, overParticipant prometheus.Counter

	// Counters that were used before, by function and reason, so that the path
	// of an authorisation looks up no label.
	known [256][256]atomic.Pointer[prometheus.Counter]
}

// Results of a close.
const (
	closeEqual   = "equal"
	closeUnequal = "unequal"
)

func newMetrics(registerer prometheus.Registerer, s *Switch) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lianfen_requests_total", Help: "Requests answered, by function and reason.",
		}, []string{"function", "reason"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "lianfen_request_seconds", Help: "Time from reading a frame to handing its answer to the connection.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
		}),
		unanswered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lianfen_frames_unanswered_total", Help: "Frames that could not be read far enough to be answered, and those behind one that ended its connection.",
		}),
		malformed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lianfen_frames_malformed_total", Help: "Frames answered 30, by data element at fault (0: none can be named).",
		}, []string{"field"}),
		repeats: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lianfen_requests_repeated_total", Help: "Requests that were answered as they were the first time.",
		}),
	}
	m.closes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lianfen_batch_closes_total", Help: "Batches of terminals and dates of partners that were closed, by whether the sender's totals are ours.",
	}, []string{"result"})
	m.uploaded = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "lianfen_batch_uploaded_items_total", Help: "Transactions that terminals have sent up after unequal totals.",
	})
	m.unauthentic = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lianfen_mac_refused_total", Help: "Messages refused for their MAC: wrong, missing, without keys because the terminal has not signed on, or of derived keys that are another terminal's or were used before.",
	}, []string{"cause"})
	for _, cause := range []string{macWrong, macMissing, macNoKeys, macBadKSN, macSpent} {
		m.unauthentic.WithLabelValues(cause)
	}
	for _, result := range []string{closeEqual, closeUnequal} {
		m.closes.WithLabelValues(result) // So that an alert sees the first one.
	}
	m.foreign = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lianfen_foreign_identities_total", Help: "Requests refused (58) because the connection may not speak for that acquirer or terminal.",
	}, []string{"of"})
	m.foreignAcquirer, m.foreignTerminal = m.foreign.WithLabelValues("acquirer"), m.foreign.WithLabelValues("terminal")
	m.shed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "lianfen_requests_shed_total", Help: "New requests that were turned away because those before them waited too long.",
	})
	over := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lianfen_requests_over_rate_total", Help: "Requests refused because their sender sends too many, by whose rate it was: the connection's or its identity's, or the participant's.",
	}, []string{"rate"})
	m.overConnection, m.overParticipant = over.WithLabelValues("connection"), over.WithLabelValues("participant")
	if registerer == nil {
		return m, nil
	}
	shedding := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lianfen_shedding", Help: "1 while new requests are turned away because of overload.",
	}, func() float64 {
		if s.pressure.isShedding() {
			return 1
		}
		return 0
	})
	delay := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lianfen_queue_delay_seconds", Help: "How long the oldest request that was let in and is not answered has waited for the ledger.",
	}, func() float64 { return s.pressure.delay(s.opts.Clock()).Seconds() })
	for _, c := range []prometheus.Collector{m.foreign, m.requests, m.latency, m.unanswered, m.malformed, m.repeats, m.closes, m.uploaded, m.unauthentic, m.shed, over, shedding, delay} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("switch: register metrics: %w", err)
		}
	}
	return m, nil
}

// answered counts a finished exchange.
func (m *metrics) answered(x *exchange) {
	m.counter(x.req.Function, x.resp.Reason).Inc()
	m.latency.Observe(x.s.opts.Clock().Sub(x.req.At).Seconds())
	if x.fault != nil {
		m.malformed.WithLabelValues(fmt.Sprint(x.resp.Field)).Inc()
	}
	if x.replayed {
		m.repeats.Inc()
	}
}

func (m *metrics) counter(f points.Function, r points.Reason) prometheus.Counter {
	slot := &m.known[f][r]
	if known := slot.Load(); known != nil {
		return *known
	}
	name := f.String()
	if f == 0 {
		name = "unknown"
	}
	counter := m.requests.WithLabelValues(name, r.String())
	slot.Store(&counter)
	return counter
}
