package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

// Enrolment asks for a certificate with a one-time code; without one, over TLS with
// the certificate that is to be renewed.
type Enrolment struct {
	Code    points.Secret `json:"code,omitempty"`
	Request string        `json:"request"` // certificate signing request, as PEM
}

// LogValue is the request alone.
func (e Enrolment) LogValue() slog.Value { return slog.StringValue(e.Request) }

// Enrolled is a certificate with what its holder needs beside its key.
type Enrolled struct {
	Identity certs.Identity `json:"identity"`
	Serial   string         `json:"serial"`
	Until    time.Time      `json:"until"`
	Chain    string         `json:"chain"` // certificate and issuing CA, as PEM
	Trust    string         `json:"trust"` // the root, as PEM
}

// Bounds of enrolment.
const (
	maxEnrolment   = 16 << 10
	enrolmentTries = 10 // of one address within enrolmentTime
	enrolmentTime  = time.Minute
	mostEnrolling  = 10_000 // addresses that are counted apart
)

// tries counts what each address has asked for within the present minute.
type tries struct {
	mu    sync.Mutex // guards what follows
	since points.Timestamp
	of    map[string]int
}

// take reports whether an address may try once more.
func (t *tries) take(address string, now points.Timestamp) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil || now.Sub(t.since) >= enrolmentTime || now < t.since {
		t.since, t.of = now, make(map[string]int)
	}
	if _, known := t.of[host]; !known && len(t.of) >= mostEnrolling {
		return false
	}
	t.of[host]++
	return t.of[host] <= enrolmentTries
}

// enrolmentHandler serves enrolment and renewal to whoever has a code or a good
// certificate, and to everybody what is no secret: root and revoked certificates.
func (a *App) enrolmentHandler(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/enrol", a.enrol)
	mux.HandleFunc("GET /v1/trust", func(w http.ResponseWriter, _ *http.Request) { plain(w, string(a.authority.Trust())) })
	mux.HandleFunc("GET /v1/crl", func(w http.ResponseWriter, _ *http.Request) {
		list, err := a.authority.CRL()
		if err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/pkix-crl")
		_, _ = w.Write(list) // The peer has gone; there is nobody to tell.
	})
}

func (a *App) enrol(w http.ResponseWriter, r *http.Request) {
	if !a.enrolling.take(r.RemoteAddr, a.opts.Clock()) {
		w.Header().Set("Retry-After", "60")
		refuse(w, points.Errorf(points.Overloaded, "enrolment: too many requests from this address within a minute"))
		return
	}
	var e Enrolment
	if err := decodeBody(w, r.WithContext(context.WithValue(r.Context(), bodyLimit{}, int64(maxEnrolment))), &e); err != nil {
		refuse(w, err)
		return
	}
	made, err := a.certify(PeerOf(r.Context()), &e)
	if errors.Is(err, certs.ErrCode) {
		err = a.waitingHalf(r.Context(), e.Code, err)
	}
	if err != nil {
		a.log.Warn("enrolment refused", slog.String("peer", r.RemoteAddr), slog.String("cause", err.Error()))
		if errors.Is(err, certs.ErrCode) || errors.Is(err, certs.ErrHalfCode) || errors.Is(err, certs.ErrRenewal) {
			err = points.Errorf(points.ForeignIdentity, "%w", err)
		}
		refuse(w, err)
		return
	}
	leaf := made.Certificate
	answer := Enrolled{Serial: made.Serial, Until: leaf.NotAfter, Chain: string(made.ChainPEM), Trust: string(a.authority.Trust())}
	if answer.Identity, err = certs.ParseIdentity(leaf.URIs[0].String()); err != nil {
		refuse(w, err)
		return
	}
	a.log.Info("certificate issued", slog.String("identity", answer.Identity.String()), slog.String("serial", made.Serial), slog.String("peer", r.RemoteAddr))
	if err := a.noteRegister(r.Context()); err != nil { // The next note, or the next start, tells of it.
		a.log.Error("a certificate was issued and the journal does not say so yet", slog.String("serial", made.Serial), slog.String("error", err.Error()))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // The peer has gone; there is nobody to tell.
}

func (a *App) certify(peer *certs.Peer, e *Enrolment) (*certs.Issued, error) {
	switch {
	case e.Code != "":
		return a.authority.Enrol(string(e.Code), []byte(e.Request))
	case peer != nil:
		return a.authority.Renew(peer, []byte(e.Request))
	}
	return nil, points.Errorf(points.FormatError, "enrolment: neither a code nor, over TLS, the certificate that is to be renewed")
}

// EnrolmentClient asks the HTTPS door of a switch for certificates.
type EnrolmentClient struct {
	url  string
	http *http.Client
}

// NewEnrolment makes a client of the door at url, which is checked against the roots in
// the file trust. certificate and key are what is shown; empty: nothing is.
func NewEnrolment(url, trust, certificate, key string, clock points.Clock) (*EnrolmentClient, error) {
	secure, err := certs.ClientConfig(trust, certificate, key, clock)
	if err != nil {
		return nil, err
	}
	return &EnrolmentClient{url: strings.TrimSuffix(url, "/"), http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: secure}, Timeout: time.Minute,
	}}, nil
}

// certificateRefused reports whether the other side of a TLS connection has refused what it
// was shown.
func certificateRefused(err error) bool {
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error"
}

// Ask sends a certificate signing request.
func (c *EnrolmentClient) Ask(ctx context.Context, e Enrolment) (answer Enrolled, err error) {
	body, err := json.Marshal(e)
	if err != nil {
		return answer, fmt.Errorf("enrolment: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/enrol", bytes.NewReader(body))
	if err != nil {
		return answer, fmt.Errorf("enrolment: %w", err)
	}
	response, err := c.http.Do(request)
	if certificateRefused(err) {
		return answer, fmt.Errorf("enrolment: %s refuses the certificate that it was shown: it is perhaps revoked or over (lianfen certs list --all there tells), and then only a new code helps (lianfen certs enrol): %w", c.url, err)
	}
	if err != nil {
		return answer, fmt.Errorf("enrolment: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	read := json.NewDecoder(io.LimitReader(response.Body, maxBody))
	if response.StatusCode == http.StatusOK {
		if err := read.Decode(&answer); err != nil {
			return answer, fmt.Errorf("enrolment: read the answer: %w", err)
		}
		return answer, nil
	}
	var p problem
	if err := read.Decode(&p); err != nil {
		return answer, fmt.Errorf("enrolment: %s: %w", response.Status, err)
	}
	return answer, points.Errorf(p.Reason, "enrolment refused: %s", p.Detail)
}
