package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// desk tells who stands at the admin door.
//
// A certificate names an operator; so does a session, which a password and a one-time
// code have begun. Whoever is the user that the switch runs as, or root, is the owner:
// while no operator is enrolled the owner does everything, under the names that a
// request gives; afterwards the owner acts as the operator whom admin.owner names, who
// approves nothing that way, and as nobody where it names none.
type desk struct {
	config  config.Admin
	clock   points.Clock
	key     *certs.OperatorKey
	signIns *prometheus.CounterVec
	waiting chan struct{} // sign-ins that are being looked at or wait for it
	proving chan struct{} // the one that is: hashing a password is work

	mu       sync.Mutex
	sessions map[[32]byte]session // by the SHA-256 of its token
}

// session is what a sign-in has begun.
type session struct {
	name  string
	until points.Timestamp
}

// Bounds of sign-ins.
const (
	maxSessions = 1_000
	maxSignIns  = 16
	inviteTime  = 72 * time.Hour
)

func newDesk(c config.Admin, clock points.Clock, key *certs.OperatorKey, registerer prometheus.Registerer) *desk {
	d := &desk{
		config: c, clock: clock, key: key, waiting: make(chan struct{}, maxSignIns), proving: make(chan struct{}, 1), sessions: make(map[[32]byte]session),
		signIns: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lianfen_admin_sign_ins_total", Help: "Sign-ins of operators, by what came of them: taken, refused or locked."}, []string{"result"}),
	}
	registerer.MustRegister(d.signIns)
	return d
}

// How it is known who asks.
const (
	byCertificate = "certificate"
	bySession     = "session"
	byOwner       = "socket owner"
)

// Who is who stands at the door.
type Who struct {
	Name  string     `json:"name,omitempty"` // empty: the socket's owner, while no operator is enrolled
	Roles book.Roles `json:"roles"`          // as they are at this door
	By    string     `json:"by"`             // certificate, session, or socket owner
	Until string     `json:"until,omitempty"`
}

// actor is the key of who asks, in a request's context; owner that of whether it is the
// socket's owner.
type (
	actor struct{}
	owner struct{}
)

// who is who asks; zero while no operator is enrolled.
func who(ctx context.Context) Who {
	w, _ := ctx.Value(actor{}).(Who)
	return w
}

// connected notes of a connection whether the socket's owner is at its other end. Where
// the system does not tell, the socket's mode does.
func (d *desk) connected(ctx context.Context, conn net.Conn) context.Context {
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	uid, err := peerUser(local)
	is := err != nil && d.config.Access == config.AccessOwner
	if err == nil {
		is = uid == 0 || int(uid) == os.Geteuid()
	}
	return context.WithValue(ctx, owner{}, is)
}

// identify tells who asks. Errors: SignInRefused.
func (d *desk) identify(r *http.Request, operators map[string]*book.Operator) (Who, error) {
	w := Who{}
	token, signedIn := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	atSocket, _ := r.Context().Value(owner{}).(bool)
	switch {
	case r.TLS != nil:
		peer := PeerOf(r.Context())
		if peer == nil || peer.Identity.Role != certs.RoleOperator {
			return w, points.Errorf(points.SignInRefused, "this needs an operator's certificate: lianfen certs issue --operator NAME")
		}
		w.Name, w.By = peer.Identity.Name, byCertificate
	case len(operators) == 0 && atSocket:
		return Who{Roles: book.RoleOperator | book.RoleApprover | book.RoleAdmin, By: byOwner}, nil
	case len(operators) == 0:
		return w, points.Errorf(points.SignInRefused, "no operator is enrolled; the user that the switch runs as begins with lianfen admin operator put")
	case signedIn:
		s, ok := d.session(token)
		if !ok {
			return w, points.Errorf(points.SignInRefused, "the session is over; sign in with lianfen admin login")
		}
		w.Name, w.By, w.Until = s.name, bySession, s.until.String()
	case atSocket && d.config.Owner != "":
		w.Name, w.By = d.config.Owner, byOwner
	default:
		return w, points.Errorf(points.SignInRefused, "sign in with lianfen admin login, or show an operator's certificate")
	}
	o := operators[w.Name]
	if o == nil || o.Status != book.Active {
		return Who{}, points.Errorf(points.SignInRefused, "operator %q is not enrolled, or suspended", w.Name)
	}
	w.Roles = o.Roles
	if w.By == byOwner {
		w.Roles &^= book.RoleApprover
	}
	return w, nil
}

// missing says which role is missing, and who has it.
func missing(w Who, role book.Roles, operators map[string]*book.Operator) error {
	var have []string
	for _, name := range slices.Sorted(maps.Keys(operators)) {
		if o := operators[name]; o.Status == book.Active && o.Roles.Has(role) {
			have = append(have, name)
		}
	}
	is := fmt.Sprintf("%s is %s", w.Name, w.Roles)
	if w.By == byOwner && role == book.RoleApprover {
		is += " as the socket's owner, who approves nothing without signing in"
	}
	if len(have) == 0 {
		return points.Errorf(points.RoleMissing, "this needs the role %s; %s; nobody has it", role, is)
	}
	return points.Errorf(points.RoleMissing, "this needs the role %s; %s; ask %s", role, is, strings.Join(have, ", "))
}

// session finds the session of a token.
func (d *desk) session(token string) (session, bool) {
	key := sha256.Sum256([]byte(token))
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sessions[key]
	if ok && s.until <= d.clock() {
		delete(d.sessions, key)
		return session{}, false
	}
	return s, ok
}

// begin makes a session; where there are too many, the one that ends first goes.
func (d *desk) begin(name string) (token string, until points.Timestamp) {
	token = rand.Text() + rand.Text()
	until = d.clock() + points.Timestamp(d.config.Session.Microseconds())
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.sessions, func(_ [32]byte, s session) bool { return s.until <= d.clock() })
	if len(d.sessions) >= maxSessions {
		var first [32]byte
		soonest := until
		for key, s := range d.sessions {
			if s.until <= soonest {
				first, soonest = key, s.until
			}
		}
		delete(d.sessions, first)
	}
	d.sessions[sha256.Sum256([]byte(token))] = session{name, until}
	return token, until
}

// end ends one session, or with no token all sessions of an operator.
func (d *desk) end(name, token string) {
	key := sha256.Sum256([]byte(token))
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.sessions, func(k [32]byte, s session) bool { return s.name == name && (token == "" || k == key) })
}

// enter waits until it is the caller's turn to have a password looked at.
func (d *desk) enter(ctx context.Context) (leave func(), err error) {
	select {
	case d.waiting <- struct{}{}:
	default:
		return nil, points.Errorf(points.Overloaded, "%d sign-ins are waiting already; try again", maxSignIns)
	}
	select {
	case d.proving <- struct{}{}:
		return func() { <-d.proving; <-d.waiting }, nil
	case <-ctx.Done():
		<-d.waiting
		return nil, fmt.Errorf("sign in: %w", ctx.Err())
	}
}

// SignIn is what an operator signs in with.
type SignIn struct {
	Name     string        `json:"name"`
	Password points.Secret `json:"password"`
	Code     points.Secret `json:"code"` // of the authenticator
}

// LogValue is the name alone.
func (s SignIn) LogValue() slog.Value { return slog.StringValue(s.Name) }

// Session is a sign-in that was taken.
type Session struct {
	Token points.Secret `json:"token"`
	Name  string        `json:"name"`
	Roles book.Roles    `json:"roles"`
	Until string        `json:"until"`
}

// LogValue is the name alone.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.Name) }

// login signs an operator in. Who is refused does not hear which of name, password and
// code was wrong.
func (a *App) login(ctx context.Context, s SignIn) (Session, error) {
	leave, err := a.desk.enter(ctx)
	if err != nil {
		return Session{}, err
	}
	defer leave()
	o, was, err := a.operator(ctx, s.Name)
	if err != nil {
		return Session{}, err
	}
	now := a.opts.Clock()
	if now < was.Locked {
		a.desk.signIns.WithLabelValues("locked").Inc()
		return Session{}, points.Errorf(points.LockedOut, "too many refused sign-ins; try again after %s", a.shown(was.Locked))
	}
	step, ok := a.desk.key.Prove(s.Name, certs.Enrolment{Password: o.Password, Secret: o.Secret}, string(s.Password), string(s.Code), now.Time())
	if o.Name == "" {
		return Session{}, a.refuseSignIn(ctx, "")
	}
	if ok {
		out, err := a.ledger.Do(ctx, &book.Command{Kind: book.KindSignIn, At: now, Operator: s.Name, Answer: points.Approved, Parameters: step})
		if err != nil {
			return Session{}, err
		}
		ok = out.Reason.Approved()
	}
	if !ok {
		return Session{}, a.refuseSignIn(ctx, s.Name)
	}
	token, until := a.desk.begin(s.Name)
	a.desk.signIns.WithLabelValues("taken").Inc()
	a.log.Info("operator signed in", slog.String("operator", s.Name))
	return Session{Token: points.Secret(token), Name: s.Name, Roles: o.Roles, Until: until.String()}, nil
}

// refuseSignIn counts a refused sign-in; of a name that nobody has, not in the journal.
func (a *App) refuseSignIn(ctx context.Context, name string) error {
	a.desk.signIns.WithLabelValues("refused").Inc()
	a.log.Warn("sign-in refused", slog.String("operator", name))
	if name != "" {
		if _, err := a.ledger.Do(ctx, &book.Command{Kind: book.KindSignIn, At: a.opts.Clock(), Operator: name, Answer: points.SignInRefused}); err != nil {
			return err
		}
	}
	return points.Errorf(points.SignInRefused, "sign-in refused: name, password or code is wrong, or the code was used before")
}

// operator returns an operator and how its sign-ins went; zeros of one who is not there.
func (a *App) operator(ctx context.Context, name string) (o book.Operator, l book.LoginView, err error) {
	err = a.ledger.View(ctx, func(b *book.Book) error {
		if is := b.Registry().Operators[name]; is != nil {
			o, l = *is, b.Login(name)
		}
		return nil
	})
	return o, l, err
}

// logout ends the session that asks.
func (a *App) logout(ctx context.Context, _ nothing) (Who, error) {
	w := who(ctx)
	if token, ok := ctx.Value(bearer{}).(string); ok && w.By == bySession {
		a.desk.end(w.Name, token)
	}
	return w, nil
}

// bearer is the key of a request's session token.
type bearer struct{}

func (a *App) whoami(ctx context.Context, _ nothing) (Who, error) { return who(ctx), nil }

// Joining is what a person who was invited brings.
type Joining struct {
	Name     string        `json:"name"`
	Code     points.Secret `json:"code"` // of the invitation
	Password points.Secret `json:"password"`
}

// LogValue is the name alone.
func (j Joining) LogValue() slog.Value { return slog.StringValue(j.Name) }

// Joined is what the person's authenticator reads: it holds the secret and is shown once.
type Joined struct {
	Name string        `json:"name"`
	URI  points.Secret `json:"uri"` // otpauth://
	Begun
}

// LogValue is the name alone.
func (j Joined) LogValue() slog.Value { return slog.StringValue(j.Name) }

// join lets a person who was invited choose a password, and gives the secret of the
// one-time codes.
func (a *App) join(ctx context.Context, j Joining) (Joined, error) {
	leave, err := a.desk.enter(ctx)
	if err != nil {
		return Joined{}, err
	}
	defer leave()
	o, was, err := a.operator(ctx, j.Name)
	if err != nil {
		return Joined{}, err
	}
	now := a.opts.Clock()
	if now < was.Locked {
		return Joined{}, points.Errorf(points.LockedOut, "too many refused sign-ins; try again after %s", a.shown(was.Locked))
	}
	invite := invitation(j.Code)
	if o.Name == "" || o.InviteUntil <= now || o.Invite != invite {
		return Joined{}, a.refuseSignIn(ctx, o.Name)
	}
	enrolled, err := a.desk.key.Enrol(rand.Reader, j.Name, string(j.Password))
	if err != nil {
		return Joined{}, err
	}
	cmd := book.Command{Kind: book.KindEnrol, Edition: book.Edition, At: now, Operator: j.Name, Entry: book.Entry{Operator: &book.Operator{
		Name: j.Name, Password: enrolled.Password, Secret: enrolled.Secret, Invite: invite,
	}}}
	_, begun, err := a.doStaff(ctx, "enrol "+j.Name, &cmd)
	if err != nil {
		return Joined{}, err
	}
	a.desk.end(j.Name, "")
	a.log.Info("operator enrolled", slog.String("operator", j.Name))
	return Joined{j.Name, points.Secret(enrolled.URI), begun}, nil
}
