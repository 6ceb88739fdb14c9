package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
)

// Client speaks to the admin door of a running process.
type Client struct {
	door string // for people: the socket's path, or the URL
	// remote says that it is over TLS.
	remote bool
	base   string        // of all URLs
	token  points.Secret // of the session; empty: none
	http   *http.Client
	zone   atomic.Pointer[time.Location] // the switch's, as it said last
}

// Zone is the time zone of the switch, in which people are shown times; UTC before the
// first answer.
func (c *Client) Zone() *time.Location {
	if zone := c.zone.Load(); zone != nil {
		return zone
	}
	return time.UTC
}

// NewClient makes a client of the socket at path. Nothing is dialled before the
// first call.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{door: "socket " + path, base: "http://admin", http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// NewRemoteClient makes a client of the operators' door over TLS at url, such as
// https://switch.example:8585.
func NewRemoteClient(url string, secure *tls.Config) *Client {
	return &Client{door: url, remote: true, base: strings.TrimSuffix(url, "/"), http: &http.Client{Transport: &http.Transport{TLSClientConfig: secure}}}
}

// In is the same client with the session that the token is of.
func (c *Client) In(token string) *Client {
	return &Client{door: c.door, remote: c.remote, base: c.base, token: points.Secret(token), http: c.http}
}

// Figures reads the metrics that a process serves on its HTTP address, such as
// 127.0.0.1:8580: value by name, labels included.
func Figures(ctx context.Context, address string) (figures map[string]float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", address, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("metrics of %s: %w", address, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics of %s: %s: %w", address, response.Status, err)
	}
	figures = map[string]float64{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if figures[line[:at]], err = strconv.ParseFloat(line[at+1:], 64); err != nil {
			return nil, fmt.Errorf("metrics of %s: %q: %w", address, line, err)
		}
	}
	return figures, nil
}

// Status asks how the process is.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.call(ctx, http.MethodGet, "status", nil, &s)
}

// Directory lists the reference data.
func (c *Client) Directory(ctx context.Context) (d Directory, err error) {
	return d, c.call(ctx, http.MethodGet, "directory", nil, &d)
}

// Programs lists the programmes with their rules.
func (c *Client) Programs(ctx context.Context) (p []book.Program, err error) {
	return p, c.call(ctx, http.MethodGet, "programs", nil, &p)
}

// Load puts a directory. Errors: a [*LoadError] where the switch has refused an entry.
func (c *Client) Load(ctx context.Context, d Directory) (l Loaded, err error) {
	return l, c.call(ctx, http.MethodPost, "directory", d, &l)
}

// Accounts shows what a member has.
func (c *Client) Accounts(ctx context.Context, who Holder) (a Accounts, err error) {
	return a, c.call(ctx, http.MethodPost, "accounts", who, &a)
}

// Adjust corrects a balance.
func (c *Client) Adjust(ctx context.Context, adj Adjustment) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "adjust", adj, &d)
}

// SetPIN sets, changes or unlocks the PIN of a card.
func (c *Client) SetPIN(ctx context.Context, change PINChange) (s PINState, err error) {
	return s, c.call(ctx, http.MethodPost, "pin", change, &s)
}

// ChangeKey asks for a key ceremony.
func (c *Client) ChangeKey(ctx context.Context, change KeyChange) (k KeyChanged, err error) {
	return k, c.call(ctx, http.MethodPost, "keys", change, &k)
}

// FetchKey gets the key block of an export that was approved.
func (c *Client) FetchKey(ctx context.Context, rrn string) (k KeyChanged, err error) {
	return k, c.call(ctx, http.MethodPost, "keys/fetch", Lookup{rrn}, &k)
}

// PIN tells of the PIN of a card.
func (c *Client) PIN(ctx context.Context, card CardNumber) (s PINState, err error) {
	return s, c.call(ctx, http.MethodPost, "pin/show", PINOf{card}, &s)
}

// CutOver ends the business date.
func (c *Client) CutOver(ctx context.Context, cut CutOver) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "cutover", cut, &d)
}

// Record shows the journal record with this RRN.
func (c *Client) Record(ctx context.Context, rrn string) (r Record, err error) {
	return r, c.call(ctx, http.MethodPost, "record", Lookup{rrn}, &r)
}

// Totals shows the trial balance.
func (c *Client) Totals(ctx context.Context) (t Totals, err error) {
	return t, c.call(ctx, http.MethodGet, "totals", nil, &t)
}

// Links tells how the connections to issuers' hosts are.
func (c *Client) Links(ctx context.Context) (l []pointswitch.LinkState, err error) {
	return l, c.call(ctx, http.MethodGet, "links", nil, &l)
}

// Batches lists the batches that were closed, the last one first.
func (c *Client) Batches(ctx context.Context, q BatchQuery) (b Batches, err error) {
	return b, c.call(ctx, http.MethodPost, "batches", q, &b)
}

// Batch holds what a terminal has sent up for a batch against what we have.
func (c *Client) Batch(ctx context.Context, rrn string) (b BatchDetail, err error) {
	return b, c.call(ctx, http.MethodPost, "batches/detail", Lookup{rrn}, &b)
}

// Counting tells what is counted of a terminal now.
func (c *Client) Counting(ctx context.Context, terminal points.TerminalID) (n Counting, err error) {
	return n, c.call(ctx, http.MethodPost, "batches/counting", BatchQuery{Terminal: terminal}, &n)
}

// Owed lists what issuers have not acknowledged, the oldest first.
func (c *Client) Owed(ctx context.Context) (o []Owed, err error) {
	return o, c.call(ctx, http.MethodGet, "owed", nil, &o)
}

// Resolve ends what was left to the operators.
func (c *Client) Resolve(ctx context.Context, r Resolution) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "owed/resolve", r, &d)
}

// Reload has the process read its configuration again.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	return r, c.call(ctx, http.MethodPost, "reload", nothing{}, &r)
}

// ChangeCertificates asks for an act on certificates.
func (c *Client) ChangeCertificates(ctx context.Context, change CertificateChange) (r CertificateChanged, err error) {
	return r, c.call(ctx, http.MethodPost, "certs", change, &r)
}

// FetchCertificate has issued what was approved.
func (c *Client) FetchCertificate(ctx context.Context, f CertificateFetch) (r CertificateChanged, err error) {
	return r, c.call(ctx, http.MethodPost, "certs/fetch", f, &r)
}

// ReloadCertificates has the process read certificates and revocations again.
func (c *Client) ReloadCertificates(ctx context.Context) (r CertificatesReloaded, err error) {
	return r, c.call(ctx, http.MethodPost, "certs/reload", nothing{}, &r)
}

// Statement lists what happened to a member's points.
func (c *Client) Statement(ctx context.Context, q StatementQuery) (s Statement, err error) {
	return s, c.call(ctx, http.MethodPost, "statement", q, &s)
}

// Find lists the journal records that q asks for.
func (c *Client) Find(ctx context.Context, q FindQuery) (f Found, err error) {
	return f, c.call(ctx, http.MethodPost, "find", q, &f)
}

// Detail tells all that the journal knows of the record with this RRN.
func (c *Client) Detail(ctx context.Context, rrn string) (d Detail, err error) {
	return d, c.call(ctx, http.MethodPost, "detail", Lookup{rrn}, &d)
}

// Indexed tells how far the index of statements and searches has come.
func (c *Client) Indexed(ctx context.Context) (i Indexed, err error) {
	return i, c.call(ctx, http.MethodGet, "index", nil, &i)
}

// Reindex drops that index; it is then made again from the journal.
func (c *Client) Reindex(ctx context.Context) (i Indexed, err error) {
	return i, c.call(ctx, http.MethodPost, "index/rebuild", nothing{}, &i)
}

// call sends in and reads out. A problem document becomes an error with its reason.
func (c *Client) call(ctx context.Context, method, path string, in, out any) (err error) {
	response, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("admin %s: read the answer: %w", path, err)
	}
	return nil
}

// send sends in and returns the answer, whose body is the caller's to close. A
// problem document becomes an error with its reason.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("admin %s: %w", path, err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/"+path, body)
	if err != nil {
		return nil, fmt.Errorf("admin %s: %w", path, err)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+string(c.token))
	}
	response, err := c.http.Do(request)
	switch {
	case certificateRefused(err):
		return nil, fmt.Errorf("admin %s: the switch refuses the certificate that it was shown: this door is for operators' certificates, and this one is of somebody else, revoked or over: %w", c.door, err)
	case err != nil && c.remote:
		return nil, fmt.Errorf("admin %s: does a switch serve there, with this address as its admin.address? %w", c.door, err)
	case err != nil:
		return nil, fmt.Errorf("admin %s: is lianfen serve running with this configuration? %w", c.door, err)
	}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK && !strings.Contains(kind, "json") {
		return nil, errors.Join(fmt.Errorf("admin %s: status %d, and no answer of an operators' door: is this the address of metrics or of something else? The configuration has it as admin.address", c.door, response.StatusCode),
			response.Body.Close())
	}
	if name := response.Header.Get(zoneHeader); name != c.Zone().String() {
		if zone, err := time.LoadLocation(name); err == nil {
			c.zone.Store(zone)
		}
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	var p problem
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		return nil, errors.Join(fmt.Errorf("admin %s: status %d: %w", path, response.StatusCode, err), response.Body.Close())
	}
	refused := points.InBoth(p.Reason, p.Detail, p.Chinese)
	if p.Load != nil {
		refused = &LoadError{p.Load.At, p.Load.Done, p.Load.Total, refused}
	}
	return nil, errors.Join(refused, response.Body.Close())
}

// Login signs an operator in.
func (c *Client) Login(ctx context.Context, s SignIn) (session Session, err error) {
	return session, c.call(ctx, http.MethodPost, "login", s, &session)
}

// Logout ends the client's session.
func (c *Client) Logout(ctx context.Context) (w Who, err error) {
	return w, c.call(ctx, http.MethodPost, "logout", nothing{}, &w)
}

// Whoami tells whom the switch takes the client for.
func (c *Client) Whoami(ctx context.Context) (w Who, err error) {
	return w, c.call(ctx, http.MethodGet, "whoami", nil, &w)
}

// Join sets the credentials of a person who was invited.
func (c *Client) Join(ctx context.Context, j Joining) (joined Joined, err error) {
	return joined, c.call(ctx, http.MethodPost, "enrol", j, &joined)
}

// Operators lists the operators.
func (c *Client) Operators(ctx context.Context) (o []OperatorState, err error) {
	return o, c.call(ctx, http.MethodGet, "operators", nil, &o)
}

// PutOperator makes or changes an operator.
func (c *Client) PutOperator(ctx context.Context, change OperatorChange) (o OperatorChanged, err error) {
	return o, c.call(ctx, http.MethodPost, "operators", change, &o)
}

// PutPolicy says which acts need a second person.
func (c *Client) PutPolicy(ctx context.Context, change PolicyChange) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "policy", change, &d)
}

// Pending lists what waits for a second person.
func (c *Client) Pending(ctx context.Context) (p []Pending, err error) {
	return p, c.call(ctx, http.MethodGet, "pending", nil, &p)
}

// Approve carries out what somebody else has proposed.
func (c *Client) Approve(ctx context.Context, decision Decision) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "approve", decision, &d)
}

// Reject ends what was proposed, without effect.
func (c *Client) Reject(ctx context.Context, decision Decision) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "reject", decision, &d)
}

// Cycles lists the cycles of a business date; 0: of the one that runs.
func (c *Client) Cycles(ctx context.Context, date points.BusinessDate) (list []CycleState, err error) {
	return list, c.call(ctx, http.MethodPost, "cycles", CycleAsked{Date: date}, &list)
}

// Rates lists every version of the rates.
func (c *Client) Rates(ctx context.Context) (list []RateVersion, err error) {
	return list, c.call(ctx, http.MethodGet, "rates", nil, &list)
}

// ProposeRates proposes rates.
func (c *Client) ProposeRates(ctx context.Context, s RateSetting) (done []Done, err error) {
	return done, c.call(ctx, http.MethodPost, "rates", s, &done)
}

// Fees lists every version of the fees.
func (c *Client) Fees(ctx context.Context) (list []FeeVersion, err error) {
	return list, c.call(ctx, http.MethodGet, "fees", nil, &list)
}

// ProposeFees proposes a schedule of fees.
func (c *Client) ProposeFees(ctx context.Context, s FeeSetting) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "fees", s, &d)
}

// Caps lists the caps, and what counts for them.
func (c *Client) Caps(ctx context.Context) (list []CapState, err error) {
	return list, c.call(ctx, http.MethodGet, "caps", nil, &list)
}

// Guarantees tells what stands in for a member that fails.
func (c *Client) Guarantees(ctx context.Context) (g Guarantees, err error) {
	return g, c.call(ctx, http.MethodGet, "guarantees", nil, &g)
}

// SetFund enters what the guarantee fund has.
func (c *Client) SetFund(ctx context.Context, s FundSetting) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "guarantees/fund", s, &d)
}

// SetGrant enters a bilateral limit.
func (c *Client) SetGrant(ctx context.Context, s GrantSetting) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "guarantees/limit", s, &d)
}

// SetCap sets a member's cap.
func (c *Client) SetCap(ctx context.Context, s CapSetting) (d Done, err error) {
	return d, c.call(ctx, http.MethodPost, "caps", s, &d)
}

// Cleared tells what members owe each other in a cycle.
func (c *Client) Cleared(ctx context.Context, asked ClearedAsked) (v Cleared, err error) {
	return v, c.call(ctx, http.MethodPost, "cleared", asked, &v)
}

// QuoteSwap asks for a quote.
func (c *Client) QuoteSwap(ctx context.Context, asked SwapAsked) (s SwapState, err error) {
	return s, c.call(ctx, http.MethodPost, "exchange/quote", asked, &s)
}

// LockSwap locks a quote.
func (c *Client) LockSwap(ctx context.Context, named SwapNamed) (s SwapState, err error) {
	return s, c.call(ctx, http.MethodPost, "exchange/lock", named, &s)
}

// Swap executes a quote.
func (c *Client) Swap(ctx context.Context, named SwapNamed) (s SwapState, err error) {
	return s, c.call(ctx, http.MethodPost, "exchange/swap", named, &s)
}

// CancelSwap ends a quote or a lock.
func (c *Client) CancelSwap(ctx context.Context, named SwapNamed) (s SwapState, err error) {
	return s, c.call(ctx, http.MethodPost, "exchange/cancel", named, &s)
}

// ShowSwap tells where a swap is.
func (c *Client) ShowSwap(ctx context.Context, named SwapNamed) (s SwapState, err error) {
	return s, c.call(ctx, http.MethodPost, "exchange/show", named, &s)
}

// SwapQueue lists the swaps that are under way.
func (c *Client) SwapQueue(ctx context.Context) (list []SwapState, err error) {
	return list, c.call(ctx, http.MethodGet, "exchange/queue", nil, &list)
}

// SwapTerms lists every version of the terms of swaps.
func (c *Client) SwapTerms(ctx context.Context) (list []SwapTermsVersion, err error) {
	return list, c.call(ctx, http.MethodGet, "exchange/terms", nil, &list)
}

// ProposeSwapTerms proposes terms of swaps.
func (c *Client) ProposeSwapTerms(ctx context.Context, s SwapTermsSetting) (done []Done, err error) {
	return done, c.call(ctx, http.MethodPost, "exchange/terms", s, &done)
}
