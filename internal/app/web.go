package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// Bounds of what an HTTP peer may take.
const (
	headerTimeout = 5 * time.Second
	requestTime   = 5 * time.Minute // what takes longer is served by lasting
	maxHeader     = 16 << 10
	maxBody       = 1 << 20
	maxDirectory  = 64 << 20 // members and cards by the hundred thousand
)

// readiness is whether requests are taken.
type readiness struct {
	yes atomic.Bool
}

func (r *readiness) set(yes bool) { r.yes.Store(yes) }

// webHandler serves /metrics, /healthz (the process lives and its ledger has not
// failed) and /readyz (it takes requests); over TLS enrolment too.
func (a *App) webHandler() http.Handler {
	mux := http.NewServeMux()
	if a.opts.Config.HTTPTLS() && a.authority != nil && a.authority.CanIssue() {
		a.enrolmentHandler(mux)
	}
	mux.Handle("GET /metrics", forOperators(promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.ledger.Err(); err != nil {
			http.Error(w, "the ledger has stopped at a fault", http.StatusServiceUnavailable)
			return
		}
		plain(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.ready.yes.Load() || a.ledger.Err() != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		plain(w, "ready\n")
	})
	return mux
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprint(w, text) // The peer has gone; there is nobody to tell.
}

// serveHTTP serves handler on ln until it is shut down; over TLS where secure says how.
func (a *App) serveHTTP(group *errgroup.Group, ln net.Listener, handler http.Handler, secure *tls.Config) *http.Server {
	if secure != nil {
		ln = tls.NewListener(ln, secure)
	}
	server := &http.Server{
		Handler: handler, ErrorLog: log.New(a.httpLog(), "", 0), ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTime,
		WriteTimeout: requestTime, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader, ConnContext: a.desk.connected,
	}
	group.Go(func() error {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("http on %s: %w", ln.Addr(), err)
		}
		return nil
	})
	return server
}
