package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// listenAdmin opens the unix socket of the operators. A socket that a killed
// process left behind is taken over; one that answers is not, nor is a file that
// is no socket.
func listenAdmin(ctx context.Context, path string, access config.Access) (net.Listener, error) {
	if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("admin socket %s: another process serves it", path), conn.Close())
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("admin socket %s: there is a file that is no socket; admin.socket names another, or it goes away", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	mode := fs.FileMode(0o600)
	if access == config.AccessGroup {
		mode = 0o660
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), ln.Close())
	}
	return ln, nil
}

// door is one thing that can be asked at the admin door, and the role that it needs.
type door struct {
	pattern string
	role    book.Roles // 0: anybody, who is not known yet
	serve   http.HandlerFunc
}

// doors is the one table of what operators may ask. Whoever has a role may look. What is
// refused here never reaches what serves it; what an act needs is in the book besides.
// What reads the whole journal is given up once stopping has ended.
func (a *App) doors(stopping context.Context) []door {
	return slices.Concat(a.houseDoors(), a.dayDoors(stopping), a.keyDoors(stopping), a.tariffDoors(stopping), a.journalDoors())
}

// What the rows of doors want of whoever asks.
const (
	look       = book.RoleViewer
	enter      = book.RoleOperator
	decide     = book.RoleApprover
	administer = book.RoleAdmin
)

// houseDoors are those of operators and of the directory.
func (a *App) houseDoors() []door {
	return []door{
		{"POST /v1/login", 0, answer(a.login)},
		{"POST /v1/enrol", 0, answer(a.join)},
		{"POST /v1/logout", look, answer(a.logout)},
		{"GET /v1/whoami", look, answer(a.whoami)},
		{"GET /v1/operators", look, answer(a.operators)},
		{"POST /v1/operators", administer, answer(a.putOperator)},
		{"POST /v1/policy", administer, answer(a.putPolicy)},
		{"GET /v1/pending", look, answer(a.pending)},
		{"POST /v1/approve", decide, answer(a.approve)},
		{"POST /v1/reject", look, answer(a.reject)}, // one's own; another's needs decide, as the book sees to
		{"GET /v1/status", look, answer(a.status)},
		{"GET /v1/directory", look, answer(a.directory)},
		{"GET /v1/programs", look, answer(a.programs)},
		{"POST /v1/directory", enter, bounded(maxDirectory, answer(a.load))},
		{"POST /v1/accounts", look, answer(a.accounts)},
		{"POST /v1/adjust", enter, answer(a.adjust)},
		{"POST /v1/cutover", enter, answer(a.cutOver)},
		{"POST /v1/cycles", look, answer(a.cycles)},
	}
}

// dayDoors are those of settlement and of all that is compared, disputed or owed.
func (a *App) dayDoors(stopping context.Context) []door {
	return []door{
		{"POST /v1/settle/prepare", look, answer(a.settlePrepare)},
		{"POST /v1/settle/show", look, answer(a.settleShow)},
		{"POST /v1/settle/exceptions", look, answer(a.settleExceptions)},
		{"POST /v1/settle/export", enter, a.noted("export of a settlement run", lasting(stopping, a.settleExport))},
		{"POST /v1/settle/diff", look, lasting(stopping, a.following(a.settleDiff))},
		{"POST /v1/settle/default", look, lasting(stopping, a.following(a.settleDefault))},
		{"POST /v1/settle/run", enter, lasting(stopping, a.following(a.settleRun))},
		{"POST /v1/settle/temporary", enter, a.noted("temporary settlement files", lasting(stopping, a.temporary))},
		{"POST /v1/settle/approve", decide, lasting(stopping, a.following(a.settleApprove))},
		{"POST /v1/settle/publish", decide, lasting(stopping, a.following(a.settlePublish))},
		{"POST /v1/settle/void", enter, answer(a.settleVoid)},
		{"POST /v1/settle/deliveries", look, answer(a.settleDeliveries)},
		{"POST /v1/settle/delivered", enter, answer(a.settleDelivered)},
		{"POST /v1/record", look, answer(a.record)},
		{"GET /v1/totals", look, lasting(stopping, answer(a.totals))},
		{"GET /v1/links", look, answer(a.links)},
		{"POST /v1/batches", look, answer(a.batches)},
		{"POST /v1/batches/detail", look, answer(a.batch)},
		{"POST /v1/batches/counting", look, answer(a.counting)},
		{"GET /v1/owed", look, answer(a.owed)},
		{"GET /v1/disputes", look, answer(a.disputes)},
		{"GET /v1/disputes/all", look, answer(a.allDisputes)},
		{"POST /v1/disputes", enter, answer(a.putDispute)},
		{"POST /v1/disputes/show", look, answer(a.showDispute)},
		{"GET /v1/disputes/rules", look, answer(a.theDisputeRules)},
		{"POST /v1/disputes/rules", enter, answer(a.setDisputeRules)},
		{"POST /v1/leg", enter, answer(a.putLeg)},
		{"POST /v1/recon", enter, a.noted("reconciliation", lasting(stopping, answer(a.reconcile)))},
		{"POST /v1/recon/list", look, answer(a.exceptions)},
		{"POST /v1/recon/act", enter, answer(a.actOn)},
		{"POST /v1/liability", look, lasting(stopping, a.liability)},
		{"POST /v1/owed/resolve", enter, answer(a.resolve)},
	}
}

// keyDoors are those of the configuration, of keys and certificates, and of copies.
func (a *App) keyDoors(stopping context.Context) []door {
	return []door{
		{"POST /v1/reload", enter, a.noted("reload of the configuration", answer(a.reload))},
		{"POST /v1/keys", enter, answer(a.changeKey)},
		{"POST /v1/keys/fetch", enter, answer(a.fetchKey)},
		{"POST /v1/pin", enter, answer(a.setPIN)},
		{"POST /v1/pin/show", look, answer(a.showPIN)},
		{"POST /v1/certs", enter, answer(a.changeCertificates)},
		{"POST /v1/certs/fetch", enter, answer(a.fetchCertificate)},
		{"POST /v1/certs/reload", enter, answer(a.reloadCertificates)},
		{"POST /v1/backup", enter, a.noted("backup", lasting(stopping, answer(a.backup)))},
		{"POST /v1/journal", enter, a.noted("encrypted backup", lasting(stopping, a.journal))},
		{"POST /v1/prove", look, lasting(stopping, a.prove)},
		{"POST /v1/export", enter, a.noted("export", lasting(stopping, a.export))},
	}
}

// tariffDoors are those of rates, fees and caps, of swaps and of risk.
func (a *App) tariffDoors(stopping context.Context) []door {
	return []door{
		{"GET /v1/rates", look, answer(a.rates)},
		{"POST /v1/rates", enter, bounded(maxTariff, answer(a.proposeRates))},
		{"GET /v1/fees", look, answer(a.fees)},
		{"POST /v1/fees", enter, bounded(maxTariff, answer(a.proposeFees))},
		{"GET /v1/caps", look, answer(a.caps)},
		{"POST /v1/caps", enter, answer(a.setCap)},
		{"GET /v1/guarantees", look, answer(a.guarantees)},
		{"POST /v1/guarantees/fund", enter, answer(a.setFund)},
		{"POST /v1/guarantees/limit", enter, answer(a.setGrant)},
		{"POST /v1/cleared", look, answer(a.cleared)},
		{"POST /v1/exchange/quote", enter, answer(a.quoteSwap)},
		{"POST /v1/exchange/lock", enter, answer(a.aboutSwap(a.swaps.Lock))},
		{"POST /v1/exchange/swap", enter, answer(a.aboutSwap(a.swaps.Swap))},
		{"POST /v1/exchange/cancel", enter, answer(a.aboutSwap(a.swaps.Cancel))},
		{"POST /v1/exchange/show", look, answer(a.showSwap)},
		{"GET /v1/exchange/queue", look, answer(a.swapQueue)},
		{"GET /v1/exchange/terms", look, answer(a.swapTerms)},
		{"POST /v1/exchange/terms", enter, bounded(maxTariff, answer(a.proposeSwapTerms))},
		{"GET /v1/risk", look, answer(a.risk)},
		{"POST /v1/risk", enter, bounded(maxRiskRules, answer(a.setRisk))},
		{"POST /v1/risk/test", look, bounded(maxRiskRules, lasting(stopping, answer(a.tryRisk)))},
		{"POST /v1/risk/flags", look, lasting(stopping, answer(a.riskFlags))},
	}
}

// journalDoors are those of records and of their index.
func (a *App) journalDoors() []door {
	return []door{
		{"POST /v1/statement", look, answer(a.statement)},
		{"POST /v1/find", look, answer(a.find)},
		{"POST /v1/detail", look, answer(a.detail)},
		{"GET /v1/index", look, answer(a.indexed)},
		{"POST /v1/index/rebuild", enter, a.noted("index made again", answer(a.reindex))},
	}
}

// adminHandler is the operators' interface, in JSON, the same at the socket and over
// TLS. Every refusal is a problem document (RFC 9457) with the reason's name beside.
func (a *App) adminHandler(stopping context.Context) http.Handler {
	mux := http.NewServeMux()
	for _, d := range a.doors(stopping) {
		mux.HandleFunc(d.pattern, a.guarded(d.role, d.serve))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(zoneHeader, a.zone.String())
		mux.ServeHTTP(w, r)
	})
}

// guarded serves who has the role, and tells others who has it.
func (a *App) guarded(role book.Roles, serve http.HandlerFunc) http.HandlerFunc {
	if role == 0 {
		return serve
	}
	return func(w http.ResponseWriter, r *http.Request) {
		operators, err := a.registryOperators(r.Context())
		if err != nil {
			refuse(w, err)
			return
		}
		asks, err := a.desk.identify(r, operators)
		if err == nil && !asks.Roles.Has(role) {
			err = missing(asks, role, operators)
		}
		if err != nil {
			refuse(w, err)
			return
		}
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		ctx := context.WithValue(context.WithValue(r.Context(), actor{}, asks), bearer{}, token)
		serve(w, r.WithContext(ctx))
	}
}

// zoneHeader names the time zone of the switch: times are told in UTC, and shown to
// people in the zone that the business date is of.
const zoneHeader = "Lianfen-Time-Zone"

// bounded gives the bodies of one pattern a bound of their own.
func bounded(limit int64, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		serve(w, r.WithContext(context.WithValue(r.Context(), bodyLimit{}, limit)))
	}
}

// bodyLimit is the key of a request's bound, where it is not maxBody.
type bodyLimit struct{}

// errStopping ends what lasts too long for a drain to wait for.
var errStopping = errors.New("the switch is stopping; ask again when it serves")

// lasting serves what may take longer than requestTime: the connection has no
// deadline meanwhile. Its context ends when stopping does, so that a drain does
// not wait for it.
func lasting(stopping context.Context, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
			refuse(w, fmt.Errorf("answer without a deadline: %w", err))
			return
		}
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(stopping, func() { cancel(errStopping) })()
		serve(w, r.WithContext(ctx)) //nolint:contextcheck // it is the request's own, which stopping ends too.
	}
}

// whyEnded says why what lasts ended early, and err when it did not.
func whyEnded(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		return points.Errorf(points.Draining, "%w", errStopping)
	}
	return err
}

// problem is an RFC 9457 problem document.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Chinese is the detail for members, where there is one.
	Chinese string        `json:"detail_zh,omitempty"`
	Reason  points.Reason `json:"reason"`
	Load    *loadProblem  `json:"load,omitempty"`
}

// loadProblem is what a [LoadError] has beside its refusal.
type loadProblem struct {
	At    string `json:"at,omitempty"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// answer answers with what f makes of the request's body; for GET there is none.
func answer[In, Out any](f func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		var out Out
		err := decodeBody(w, r, &in)
		if err == nil {
			out, err = f(r.Context(), in)
		}
		if err != nil {
			refuse(w, whyEnded(r.Context(), err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // The peer has gone; there is nobody to tell.
	}
}

// refuse answers with the problem document of err.
func refuse(w http.ResponseWriter, err error) {
	reason := points.ReasonOf(err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(reason.HTTPStatus())
	p := problem{Type: "about:blank", Title: reason.English(), Status: reason.HTTPStatus(), Detail: err.Error(), Chinese: points.ChineseOf(err), Reason: reason}
	if load, ok := errors.AsType[*LoadError](err); ok {
		p.Detail, p.Load = load.err.Error(), &loadProblem{load.At, load.Done, load.Total}
	}
	_ = json.NewEncoder(w).Encode(p) // The peer has gone; there is nobody to tell.
}

// decodeBody reads a body of at most maxBody, or of what bounded says.
func decodeBody(w http.ResponseWriter, r *http.Request, in any) error {
	if r.Method != http.MethodPost {
		return nil
	}
	limit, ok := r.Context().Value(bodyLimit{}).(int64)
	if !ok {
		limit = maxBody
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return points.Errorf(points.FormatError, "request body: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(in); err != nil {
		return points.Errorf(points.FormatError, "request body: %w", err)
	}
	if decoder.More() {
		return points.Errorf(points.FormatError, "request body: there is more behind its end")
	}
	return saidTwice(text)
}

// saidTwice refuses an object that has a key twice, in whatever letters: encoding/json takes
// "Amount" for "amount", and the last of both, where whoever looked at the body before may
// have taken the first. The text is known to be JSON.
func saidTwice(text []byte) error {
	type level struct {
		keys map[string]bool // nil: of a list
		key  bool            // what comes next is one
	}
	var open []level
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return points.Errorf(points.FormatError, "request body: %w", err)
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
			continue
		}
		if n := len(open) - 1; n >= 0 && open[n].keys != nil {
			if key, ok := token.(string); ok && open[n].key {
				folded := foldedKey(key)
				if open[n].keys[folded] {
					return points.Errorf(points.FormatError, "request body: the key %s stands there twice", points.Escaped(key))
				}
				open[n].keys[folded], open[n].key = true, false
				continue
			}
			open[n].key = true
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{make(map[string]bool), true})
		case json.Delim('['):
			open = append(open, level{})
		}
	}
}

// foldedKey is one for all that encoding/json takes for the same key.
func foldedKey(key string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, key)
}

type nothing struct{}

// Status is how the process is.
type Status struct {
	Version  string              `json:"version"`
	Ready    bool                `json:"ready"`
	Position points.Position     `json:"position"`
	Date     points.BusinessDate `json:"business_date"`
	Cycle    uint8               `json:"cycle"`
	Since    string              `json:"since"` // when the date began
	// NextCutOver is when the date or cycle ends by itself; empty: operators end it.
	NextCutOver string            `json:"next_cut_over,omitempty"`
	Listeners   map[string]string `json:"listeners"`
	HTTP        string            `json:"http"`
	Operators   int               `json:"operators"` // enrolled
	Policy      book.Policy       `json:"policy"`    // what needs a second person
	Pending     int               `json:"pending"`   // acts that wait for one
	AskedBy     Who               `json:"asked_by"`
	// Admin is the address of the operators' door over TLS; empty: there is none.
	Admin string `json:"admin,omitempty"`
	// Fetch is the address at which members fetch their files (SFTP); empty: there is none.
	Fetch string `json:"fetch,omitempty"`
	// Certificates are those of the process; nil: nothing speaks TLS.
	Certificates *CertificateState `json:"certificates,omitempty"`
	Warnings     []string          `json:"warnings,omitempty"` // what is to be done before something happens
}

func (a *App) status(ctx context.Context, _ nothing) (Status, error) {
	s := Status{AskedBy: who(ctx), Version: a.opts.Version, Ready: a.ready.yes.Load(), Position: a.ledger.Durable(), HTTP: a.web.Addr().String(), Listeners: map[string]string{}}
	s.Certificates, s.Warnings = a.certificates()
	s.Warnings = append(append(s.Warnings, a.deliveryWarnings()...), a.nightWarnings(ctx)...)
	if a.remote != nil {
		s.Admin = a.remote.Addr().String()
	}
	if address := a.FetchAddress(); address != nil {
		s.Fetch = address.String()
	}
	for _, l := range a.listeners {
		s.Listeners[l.name] = l.server.Addr().String()
	}
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		s.Operators, s.Policy, s.Pending = len(registry.Operators), registry.Policy, len(b.Proposals())
		if alone := aloneIn(registry); alone != "" {
			s.Warnings = append(s.Warnings, alone)
		}
		waiting, err := b.SwapLegsWaiting()
		if n := waiting[book.SwapManual]; n > 0 {
			s.Warnings = append(s.Warnings, fmt.Sprintf("%d swaps are left to operators: lianfen exchange queue", n))
		}
		return err
	}); err != nil {
		return s, err
	}
	last, err := a.ledger.Record(s.Position)
	if err != nil {
		return s, err
	}
	s.Date = last.Outcome.Date
	began, err := firstOf(a.ledger, s.Date)
	if err != nil {
		return s, err
	}
	first, err := a.ledger.Record(began)
	s.Since = first.Outcome.Posted.String()
	s.Cycle = last.Outcome.InCycle()
	if next, ok := a.planned.Load().next(standing{s.Date, s.Cycle, cmp.Or(first.Command.Carried().Planned, first.Outcome.Posted)}); ok {
		s.NextCutOver = next.at.String()
	}
	return s, err
}

// refresh swaps in the router's table of the reference data as it is now.
func (a *App) refresh(ctx context.Context) error {
	var registry *book.Registry
	err := a.ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	})
	if err != nil {
		return err
	}
	a.router.Swap(router.NewTable(registry))
	return nil
}

func (a *App) directory(ctx context.Context, _ nothing) (Directory, error) {
	var registry *book.Registry
	err := a.ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	})
	if err != nil {
		return Directory{}, err
	}
	return directoryOf(registry), nil
}

// programs lists the programmes, ascending.
func (a *App) programs(ctx context.Context, _ nothing) ([]book.Program, error) {
	d, err := a.directory(ctx, nothing{})
	return append([]book.Program{}, d.Programs...), err
}

// Loaded is how many entries of a directory were put.
type Loaded struct {
	Entries int `json:"entries"` // that were written, or wait to be
	Known   int `json:"known"`   // that were there already as they are, so that nothing was written
	// Pending are the proposals of those that a second person has to approve, in order.
	Pending []string `json:"pending,omitempty"`
	// Warnings tell of what was taken and does not work as it stands.
	Warnings []string `json:"warnings,omitempty"`
}

// loadChunk is how many entries are in the ledger's queue at once.
const loadChunk = 1_000

// load puts a directory, entry by entry in journal order. It stops after the
// chunk with the first refusal, which it names; what was put stays. Errors: a
// [*LoadError].
func (a *App) load(ctx context.Context, d Directory) (Loaded, error) {
	commands, err := d.commands(a.token)
	if err != nil {
		return Loaded{}, err
	}
	total := len(commands)
	asks := who(ctx)
	err = a.ledger.View(ctx, func(b *book.Book) error {
		two, changes := b.Registry().Policy.TwoPersons, make(map[string]bool)
		for i := range commands {
			if err := commands[i].keep(b); err != nil {
				return err
			}
			// What stands now may not any more once an entry of the same name before it is put.
			commands[i].done = commands[i].done && !changes[commands[i].what]
			changes[commands[i].what] = changes[commands[i].what] || !commands[i].done
			commands[i].by(asks.Name, two)
		}
		return nil
	})
	if err != nil {
		return Loaded{}, &LoadError{Total: total, err: err}
	}
	commands = slices.DeleteFunc(commands, func(n named) bool { return n.done })
	done, at := total-len(commands), ""
	var pending []string
	for rest := commands; err == nil && len(rest) > 0; {
		chunk := rest[:min(loadChunk, len(rest))]
		rest = rest[len(chunk):]
		var refused int
		if refused, err = a.loadSome(ctx, chunk, &done, &pending); refused >= 0 {
			at = chunk[refused].at
			err = a.refusal(ctx, chunk[refused].what, &chunk[refused].cmd, points.ReasonOf(err))
		}
	}
	if refreshErr := a.refresh(ctx); err == nil {
		err = refreshErr
	}
	if err != nil {
		return Loaded{}, &LoadError{At: at, Done: done, Total: total, err: err}
	}
	a.takeUpMembers(ctx)
	a.log.Info("directory loaded", slog.Int("entries", len(commands)))
	slices.Sort(pending)
	return Loaded{Entries: len(commands), Known: total - len(commands), Pending: pending, Warnings: a.warnings(&d)}, nil
}

// loadSome puts some entries and counts those that are done. It returns which was
// refused first and why; -1 with an error that is no refusal, and with none.
func (a *App) loadSome(ctx context.Context, commands []named, done *int, pending *[]string) (refused int, err error) {
	now := a.opts.Clock()
	type outcome struct {
		at       int
		reason   points.Reason
		position points.Position
	}
	outcomes := make(chan outcome, len(commands))
	for i := range commands {
		c := &commands[i]
		c.cmd.At = now
		if card := c.cmd.Entry.Card; card != nil {
			card.Since = now // The ledger keeps that of the first time.
		}
		a.ledger.Submit(&c.cmd, func(out *book.Outcome) { outcomes <- outcome{i, out.Reason, out.Position} })
	}
	refused = -1
	for range commands {
		select {
		case out := <-outcomes:
			switch {
			case out.reason.Approved() || (commands[out.at].cmd.Kind == book.KindOpen && out.reason == points.AlreadyExists):
				*done++
				if commands[out.at].cmd.Kind == book.KindPropose {
					*pending = append(*pending, rrnOf(out.position))
				}
			case refused < 0 || out.at < refused:
				refused, err = out.at, points.Errorf(out.reason, "%s", out.reason.English())
			}
		case <-a.ledger.Failed():
			return -1, a.ledger.Err()
		case <-ctx.Done():
			return -1, fmt.Errorf("load: %w", ctx.Err())
		}
	}
	return refused, err
}

func (a *App) token(pan points.PAN) (token points.CardToken) {
	a.key.Token(&token, pan)
	return token
}

// Holder names a member, by card or by number.
type Holder struct {
	Card   CardNumber      `json:"card,omitempty"`
	Member points.MemberID `json:"member,omitempty"`
}

// Accounts is what a member has after the journal record at AsOf, which is durable.
type Accounts struct {
	AsOf   points.Position     `json:"as_of"`
	Date   points.BusinessDate `json:"business_date"` // of AsOf
	Member points.MemberID     `json:"member"`
	Status book.Status         `json:"status"`
	Ref    string              `json:"ref,omitempty"`    // the issuer's own of the member
	Freeze book.Freeze         `json:"freeze,omitempty"` // of the member
	Card   string              `json:"card,omitempty"`   // masked
	// CardStatus and CardExpiry (YYMM; 0: none) are of the card that was asked by.
	CardStatus book.Status `json:"card_status,omitempty"`
	CardExpiry uint32      `json:"card_expiry,omitempty"`
	Accounts   []Account   `json:"accounts"`
}

// Account is what a member has in one programme.
type Account struct {
	Program points.ProgramID `json:"program"`
	Name    string           `json:"name"`
	Scale   uint8            `json:"scale"`   // decimals that a person sees
	Free    points.Amount    `json:"free"`    // what can be spent on the business date
	Pending points.Amount    `json:"pending"` // neither to be spent nor held: not yet active, or lapsed and not yet booked
	Held    points.Amount    `json:"held"`
	Debt    points.Amount    `json:"debt"`
	Lots    []Lot            `json:"lots"`
}

// Lot is a part of an account with its own expiry.
type Lot struct {
	Amount    points.Amount       `json:"amount"`
	ActiveOn  points.BusinessDate `json:"active_on"`
	ExpiresOn points.BusinessDate `json:"expires_on"`
	DecaysOn  points.BusinessDate `json:"decays_on,omitzero"` // when it next loses a part
}

// others refuses a card and a member that were both named and do not belong together.
func (h *Holder) others(card string, owner points.MemberID) error {
	if h.Card == "" || h.Member == 0 || h.Member == owner {
		return nil
	}
	return points.Errorf(points.FormatError, "card %s is not one of member %d's; name the one or the other", card, h.Member)
}

// accounts reads beside the writer, which is not slowed.
func (a *App) accounts(ctx context.Context, who Holder) (Accounts, error) {
	var result Accounts
	holder := ledger.Holder{Member: who.Member}
	if who.Card != "" {
		pan, err := points.ParsePAN(string(who.Card))
		if err != nil {
			return result, err
		}
		holder.Card, result.Card = a.token(pan), pan.Masked()
	}
	got, err := a.projection.Accounts(ctx, holder)
	if err != nil && who.Card != "" {
		err = a.elsewhere(string(who.Card), err)
	}
	if err != nil && result.Card != "" {
		err = points.Errorf(points.ReasonOf(err), "card %s: %w", result.Card, err)
	}
	if err != nil {
		return result, err
	}
	if err := who.others(result.Card, got.Member.ID); err != nil {
		return Accounts{}, err
	}
	result.Member, result.Status, result.AsOf, result.Date = got.Member.ID, got.Member.Status, got.AsOf, got.Date
	result.Ref, result.Freeze = got.Member.Ref, got.Member.Freeze
	if who.Card != "" {
		if err := a.ledger.View(ctx, func(b *book.Book) error {
			card, _, err := b.Card(holder.Card)
			result.CardStatus, result.CardExpiry = card.Status, card.Expiry
			return err
		}); err != nil {
			return Accounts{}, err
		}
	}
	for i := range got.Accounts {
		result.Accounts = append(result.Accounts, a.accountOf(&got.Accounts[i]))
	}
	return result, nil
}

func (a *App) accountOf(view *book.AccountView) Account {
	account := Account{Program: view.Key.Program, Free: view.Usable, Pending: view.Free - view.Usable, Held: view.Held, Debt: view.Debt, Lots: []Lot{}}
	if program, ok := a.router.Table().Program(account.Program); ok {
		account.Name, account.Scale = program.Name, program.Scale
	}
	for _, l := range view.Lots {
		account.Lots = append(account.Lots, Lot{l.Amount, l.Key.ActiveOn, l.Key.ExpiresOn, l.Key.DecaysOn})
	}
	return account
}

// Adjustment corrects a balance; two different people stand behind it.
type Adjustment struct {
	Holder
	Program  points.ProgramID `json:"program"`
	Amount   points.Amount    `json:"amount"` // below zero takes away
	Operator string           `json:"operator"`
	Second   string           `json:"second"`
	Note     string           `json:"note"`
}

// Done is what a command of an operator did.
type Done struct {
	RRN  string              `json:"rrn"`
	Date points.BusinessDate `json:"business_date"`
	Free *points.Amount      `json:"free,omitempty"` // what the member can spend now, where it is about one
	// Pending says that nothing was done yet: RRN is the proposal, which a second person
	// has until then to approve.
	Pending string `json:"pending,omitempty"`
	What    string `json:"what,omitempty"` // of an approval: what was carried out, in words
	// Warning is what whoever asked should look at: it was done or proposed all the same.
	Warning string `json:"warning,omitempty"`
	// SecondHalf of the code of an invitation or an enrolment is for the approver to hand
	// over; who proposed has the first.
	SecondHalf points.Secret `json:"second_half,omitempty"`
}

func (a *App) adjust(ctx context.Context, adj Adjustment) (Done, error) {
	if err := signed(ctx, "adjust", &adj.Operator, adj.Second); err != nil {
		return Done{}, err
	}
	cmd := book.Command{
		Kind: book.KindAdjust, At: a.opts.Clock(), Member: adj.Member, Program: adj.Program, Amount: adj.Amount,
		Operator: adj.Operator, Second: adj.Second, Note: adj.Note,
	}
	if adj.Card != "" {
		pan, err := points.ParsePAN(string(adj.Card))
		if err != nil {
			return Done{}, err
		}
		cmd.Card = a.token(pan)
		if done, err := a.do(ctx, "adjust", &cmd); adj.Member == 0 || points.ReasonOf(err) != points.UnknownCard {
			return done, err
		}
		return Done{}, points.Errorf(points.UnknownCard, "adjust: card %s is not one of member %d's, or not known", pan.Masked(), adj.Member)
	}
	return a.do(ctx, "adjust", &cmd)
}

// CutOver ends the business date. A zero Date is the day after the current one.
type CutOver struct {
	Date     points.BusinessDate `json:"date,omitempty"`
	Operator string              `json:"operator"`
	Second   string              `json:"second"`
	// Force ends a date that began less than SoonAfter ago; Ahead begins one that is
	// more than DaysAhead ahead of the calendar.
	Force bool `json:"force,omitempty"`
	Ahead bool `json:"ahead,omitempty"`
	// Cycle ends the cycle that runs, and not the date.
	Cycle bool `json:"cycle,omitempty"`
}

// Bounds of a cut-over that nobody has to insist on.
const (
	// SoonAfter is how long a business date lasts at least: whoever ends it sooner
	// has probably ended it twice.
	SoonAfter = time.Hour
	// CycleSoonAfter is the same of a cycle.
	CycleSoonAfter = time.Minute
	// DaysAhead is how far a business date may be ahead of the calendar. A date cannot
	// be taken back, and lots lapse by it.
	DaysAhead = 3
)

// endable refuses to begin a business date that is not a later one or is far ahead of
// the calendar, and to end one, or a cycle, that has only just begun; else it gives the
// command.
func (a *App) endable(ctx context.Context, c *CutOver) (book.Command, error) {
	now, err := a.runs(ctx)
	if err != nil {
		return book.Command{}, err
	}
	if c.Cycle {
		return a.cycleEndable(c, now)
	}
	if c.Date == 0 {
		c.Date = now.date.AddDays(1)
	}
	clock := a.opts.Clock()
	today := points.DateOf(clock.Time().In(a.zone))
	switch ago := clock.Sub(now.began); {
	case c.Date <= now.date:
		return book.Command{}, points.Errorf(points.FormatError, "cut-over to %v: the business date is %v already; the next one has to be later", c.Date, now.date)
	case c.Date > today.AddDays(DaysAhead) && !c.Ahead:
		return book.Command{}, points.Errorf(points.NotPermitted, "cut-over to %v: today is %v, and a business date may be %d days ahead of it; it cannot be taken back, and points lapse by it: --ahead begins it all the same", c.Date, today, DaysAhead)
	case !c.Force && ago < SoonAfter:
		return book.Command{}, points.Errorf(points.NotPermitted, "cut-over to %v: business date %v %s; --force ends it all the same", c.Date, now.date, begunIn(ago))
	}
	return a.cutOverCommand(c.Date, 1), nil
}

// begunIn says how long ago something began. The journal may be ahead of the clock, where it was
// set back or a demonstration has played a day.
func begunIn(ago time.Duration) string {
	if ago <= -time.Second { // Records in one microsecond are put apart, which is no such thing.
		return fmt.Sprintf("began at a time that is %v ahead of this machine's clock", -ago.Round(time.Second))
	}
	return fmt.Sprintf("began only %v ago", max(0, ago.Round(time.Second)))
}

// cycleEndable is endable where the date goes on.
func (a *App) cycleEndable(c *CutOver, now standing) (book.Command, error) {
	switch {
	case c.Date != 0 && c.Date != now.date:
		return book.Command{}, points.Errorf(points.FormatError, "cut-over of a cycle of %v: the business date is %v; a cycle ends of that which runs", c.Date, now.date)
	case now.cycle >= book.MaxCycle:
		return book.Command{}, points.Errorf(points.NotPermitted, "cut-over: business date %v is in its last cycle, %d; end the date", now.date, now.cycle)
	}
	began, err := a.ledger.Range(now.date, now.cycle)
	if err != nil {
		return book.Command{}, err
	}
	if ago := a.opts.Clock().Sub(began.Began); ago < CycleSoonAfter && !c.Force {
		return book.Command{}, points.Errorf(points.NotPermitted, "cut-over: cycle %d of %v %s; --force ends it all the same", now.cycle, now.date, begunIn(ago))
	}
	return a.cutOverCommand(now.date, now.cycle+1), nil
}

func (a *App) cutOver(ctx context.Context, c CutOver) (Done, error) {
	if err := signed(ctx, "cut-over", &c.Operator, c.Second); err != nil {
		return Done{}, err
	}
	if who(ctx).Name == "" && (strings.TrimSpace(c.Operator) == "" || strings.TrimSpace(c.Second) == "" || strings.EqualFold(strings.TrimSpace(c.Operator), strings.TrimSpace(c.Second))) {
		return Done{}, points.Errorf(points.NeedsSecondPerson, "cut-over: name an operator and another person who approves")
	}
	cmd, err := a.endable(ctx, &c)
	if err != nil {
		return Done{}, err
	}
	what := "cut-over to " + cmd.Date.String()
	if cmd.Cycle > 1 {
		what = fmt.Sprintf("cut-over to cycle %d of %v", cmd.Cycle, cmd.Date)
	}
	cmd.Operator, cmd.Second = c.Operator, c.Second
	done, err := a.do(ctx, what, &cmd)
	if err != nil {
		return Done{}, err
	}
	if done.Pending != "" {
		return done, nil
	}
	a.log.Info("cut-over", slog.String("date", cmd.Date.String()), slog.Int("cycle", int(max(cmd.Cycle, 1))), slog.String("operator", c.Operator), slog.String("second", c.Second))
	return done, a.begun(ctx, &cmd)
}

// do carries out an operator's command and turns a decline into an error. What needs a
// second person is proposed.
func (a *App) do(ctx context.Context, what string, cmd *book.Command) (Done, error) {
	if err := legible(what, cmd); err != nil {
		return Done{}, err
	}
	if done, proposed, err := a.propose(ctx, what, cmd); proposed || err != nil {
		return done, err
	}
	out, err := a.ledger.Do(ctx, cmd)
	if err != nil {
		return Done{}, err
	}
	if !out.Reason.Approved() {
		return Done{}, a.refusal(ctx, what, cmd, out.Reason)
	}
	done := Done{RRN: rrnOf(out.Position), Date: out.Date}
	if cmd.Kind == book.KindAdjust {
		done.Free = &out.Free
	}
	return done, nil
}

// Lookup names a journal record.
type Lookup struct {
	RRN string `json:"rrn"`
}

// Record is a journal record for people. Cards are shown masked.
type Record struct {
	RRN      string              `json:"rrn"`
	AuthCode string              `json:"auth_code"`
	Kind     book.Kind           `json:"kind"`
	Function points.Function     `json:"function,omitempty"`
	Reason   points.Reason       `json:"reason"`
	Posted   string              `json:"posted"`
	Date     points.BusinessDate `json:"business_date"`
	Terminal points.TerminalID   `json:"terminal,omitzero"`
	Merchant points.MerchantID   `json:"merchant,omitzero"`
	STAN     string              `json:"stan,omitempty"`
	Card     string              `json:"card,omitempty"`
	Member   points.MemberID     `json:"member,omitempty"`
	Program  points.ProgramID    `json:"program,omitempty"`
	Amount   points.Amount       `json:"amount,omitempty"`
	Asked    points.Amount       `json:"asked,omitempty"`    // of a decline
	Original string              `json:"original,omitempty"` // RRN
	// Forwarded: an issuer with a ledger of its own decides it, or a part of it. Reason
	// says that it was admitted; Told is what the acquirer was told, absent while there
	// is no answer.
	Forwarded bool          `json:"forwarded,omitempty"`
	Told      points.Reason `json:"told,omitempty"`
	Postings  []Posting     `json:"postings"`
	Risk      *RiskSaid     `json:"risk,omitempty"` // what the rules on risk had to say
}

// Posting is one side of a booking: credit positive.
type Posting struct {
	Account book.AccountKind `json:"account"`
	Program points.ProgramID `json:"program"`
	Party   uint64           `json:"party"`
	Amount  points.Amount    `json:"amount"`
	After   points.Amount    `json:"after"`
}

func (a *App) record(_ context.Context, l Lookup) (Record, error) {
	position, err := points.ParseRRN(l.RRN)
	if err != nil {
		return Record{}, err
	}
	rec, err := a.ledger.Record(position)
	if err != nil {
		return Record{}, err
	}
	return recordFor(a.key, &rec), nil
}

// recordFor shows a record; without a key no card.
func recordFor(key *certs.CardKey, rec *book.Record) Record {
	cmd, out := &rec.Command, &rec.Outcome
	rrn, code := out.Position.RRN(), out.Position.AuthCode()
	r := Record{
		RRN: string(rrn[:]), AuthCode: string(code[:]), Kind: cmd.Kind, Function: cmd.Function, Reason: out.Reason, Posted: out.Posted.String(),
		Date: out.Date, Terminal: cmd.Terminal, Merchant: cmd.Merchant, Member: out.Member, Program: out.Program,
		Amount: out.Amount, Postings: []Posting{},
	}
	if !out.Reason.Approved() {
		r.Asked = cmd.Amount
	}
	r.Risk = riskSaid(out.Risk)
	if cmd.Key.STAN != 0 {
		r.STAN = cmd.Key.STAN.String()
	}
	if key != nil {
		if pan, ok := key.PAN(cmd.Card); ok {
			r.Card = pan.Masked()
		}
	}
	if out.Original != 0 {
		original := out.Original.RRN()
		r.Original = string(original[:])
	}
	for _, p := range out.Postings {
		r.Postings = append(r.Postings, Posting{p.Account.Kind, p.Account.Program, p.Account.Party, p.Amount, p.After})
	}
	return r
}

// Totals is the trial balance after the journal record at AsOf, which is durable.
type Totals struct {
	AsOf  points.Position     `json:"as_of"`
	Date  points.BusinessDate `json:"business_date"` // of AsOf
	Lines []Total             `json:"lines"`
}

// Total is one line of the trial balance: credit positive.
type Total struct {
	Program points.ProgramID `json:"program"`
	Account book.AccountKind `json:"account"`
	Amount  points.Amount    `json:"amount"`
}

// totals sums up beside the writer.
func (a *App) totals(ctx context.Context, _ nothing) (Totals, error) {
	trial, err := a.ledger.TrialBalance(ctx)
	if err != nil {
		return Totals{}, err
	}
	totals := Totals{AsOf: trial.Position, Date: trial.Date, Lines: []Total{}}
	for _, t := range trial.Totals() {
		totals.Lines = append(totals.Lines, Total{t.Program, t.Kind, t.Amount})
	}
	return totals, nil
}
