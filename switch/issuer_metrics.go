package pointswitch

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of answers that nobody waits for.
const (
	strayMalformed = "malformed" // it cannot be read
	strayUnknown   = "unknown"   // it answers nothing that was sent, or for the second time
	strayDiffers   = "differs"   // its amount, or its issuer, is not that of the request
	strayForged    = "forged"    // its MAC is wrong, or missing
)

// Kinds of what is owed.
const (
	owedReversal = "reversal"
	owedAdvice   = "advice"
)

// issuerMetrics count what happens on the links to issuers. The label link is the name
// of a link of the configuration.
type issuerMetrics struct {
	connections *prometheus.GaugeVec
	answered    *prometheus.HistogramVec
	unsent      *prometheus.CounterVec
	timeouts    *prometheus.CounterVec
	late        *prometheus.CounterVec
	strays      *prometheus.CounterVec
	backlog     *prometheus.GaugeVec
	oldest      *prometheus.GaugeVec
	resent      *prometheus.CounterVec
	givenUp     *prometheus.CounterVec
	foreign     *prometheus.CounterVec
}

func newIssuerMetrics(registerer prometheus.Registerer) (*issuerMetrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lianfen_issuer_" + name, Help: help}, append([]string{"link"}, labels...))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "lianfen_issuer_" + name, Help: help}, append([]string{"link"}, labels...))
	}
	m := &issuerMetrics{
		connections: gauge("connections", "Connections to an issuer's host that are signed on."),
		answered: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lianfen_issuer_answer_seconds", Help: "Time from sending a message to an issuer's host to its answer.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 2, 16),
		}, []string{"link"}),
		unsent:   counter("unsent_total", "Requests that were not sent to the issuer, by reason.", "reason"),
		timeouts: counter("timeouts_total", "Messages to an issuer's host that were not answered in time."),
		late:     counter("late_answers_total", "Answers that came after their request was given up."),
		strays:   counter("stray_answers_total", "Answers that are not counted as one to any request, by kind.", "kind"),
		backlog:  gauge("owed", "Reversals and advices that the issuer has not acknowledged.", "kind"),
		oldest:   gauge("owed_oldest_seconds", "How long the oldest of them has been owed."),
		resent:   counter("owed_sent_total", "Reversals and advices sent, repeats included.", "kind"),
		givenUp:  counter("owed_given_up_total", "Reversals and advices left to the operators."),
		foreign:  counter("foreign_identities_total", "Connections closed because their host is nobody who is on the link."),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.answered, m.unsent, m.timeouts, m.late, m.strays, m.backlog, m.oldest, m.resent, m.givenUp, m.foreign} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("switch: register metrics of issuers: %w", err)
		}
	}
	return m, nil
}

func (m *issuerMetrics) owed(link, kind string, change float64) {
	m.backlog.WithLabelValues(link, kind).Add(change)
}

func (m *issuerMetrics) age(link string, oldest time.Duration) {
	m.oldest.WithLabelValues(link).Set(oldest.Seconds())
}
