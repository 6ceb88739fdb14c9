package pointswitch

import (
	"errors"
	"log/slog"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// keyChange is a change of keys that we ask a host for: 0800 with DE70 161, the keys in it.
// They are in force when the host has answered with their check values, or uses them.
//
//	due ──> sent ──> answered, in force
//	 ^        │
//	 └────────┘ refused, or no answer in time
type keyChange struct {
	sent bool
	due  points.Timestamp
	key  replyKey
	kcv  string // check values of what was sent
}

// keyPause is the time before a host is sent keys again that has not taken them.
const keyPause = 30 * time.Second

// zone is the partner at the other end of the link; nil where no keys are shared with it.
// mu is held.
func (l *leg) zone() *zone {
	if l.profile.Zone == 0 {
		return nil
	}
	return l.of.opts.Zones.find(certs.RoleIssuer, uint64(l.profile.Zone))
}

// zoned is zone, for who does not hold mu.
func (l *leg) zoned() (z *zone) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.zone()
}

// signs is the keys by which a message on the link carries a MAC; ok is false where it
// needs one and there are no keys, so that nothing can be sent. mu is held.
func (l *leg) signs(now points.Timestamp) (keys *workingKeys, ok bool) {
	if l.profile.Zone == 0 {
		return nil, true
	}
	zone := l.zone()
	return zone.signs(now)
}

// believes reports whether an answer is the host's own: where its messages carry MACs this
// one has a right one. mu is not held.
func (l *leg) believes(frame []byte, echo *points.Request, now points.Timestamp) bool {
	zone := l.zoned()
	if zone == nil {
		return true
	}
	if !echo.Has(64) && !echo.Has(128) {
		if echo.Class == points.ClassNetwork || zone.rules.Optional {
			return true
		}
		zone.strike(zone.at(now)) // The host may have lost its keys, and can be given others.
		l.of.Wake()
		return false
	}
	keys, _ := zone.verify(l.of.opts.Dialect, frame, echo, now, true)
	if keys == nil {
		l.of.Wake() // Others may have to be exchanged.
	}
	return keys != nil
}

// authentic checks the MAC of what a host asks; the answer carries one by the same keys.
// mu is not held.
func (l *leg) authentic(frame []byte, req *points.Request, now points.Timestamp) (keys *workingKeys, forged bool) {
	zone := l.zoned()
	if zone == nil {
		return nil, false
	}
	if !req.Has(64) && !req.Has(128) {
		return nil, req.Function == points.KeyChange && zone.demands(req, now)
	}
	keys, cause := zone.verify(l.of.opts.Dialect, frame, req, now, true)
	if keys == nil {
		unsigned(req)
	}
	// What a change of keys brings is authenticated by itself.
	return keys, keys == nil && (cause != macNoKeys || req.Function != points.KeyChange)
}

// keysAsked carries out the change of keys that a host asks for.
func (l *leg) keysAsked(frame []byte, req *points.Request, resp *points.Response, now points.Timestamp) points.Reason {
	zone := l.zoned()
	if zone == nil {
		return points.FunctionDisabled
	}
	if req.Has(100) && uint64(req.Issuer) != zone.id.ID {
		return points.ForeignIdentity
	}
	reason := zone.change(l.of.opts.Dialect, frame, resp, now)
	l.of.Wake() // What waited for keys can go.
	return reason
}

// changeKeys has keys sent to the host when that is due, and returns when to look again. mu
// is held; the keystore is written when it is not.
func (l *leg) changeKeys(now points.Timestamp) points.Timestamp {
	later := now.Add(time.Minute)
	zone := l.zone()
	if zone == nil || l.changing.sent {
		return later
	}
	keys, life := zone.current(now), l.profile.KeyLife
	if keys != nil && (life <= 0 || now.Sub(zone.at(now).since) < life) {
		return later
	}
	if now < l.changing.due {
		return l.changing.due
	}
	if l.anyUp() == nil {
		return later // A connection's coming up calls for the next look.
	}
	l.changing.sent = true
	l.after = append(l.after, call{do: func() {
		blocks, checks, err := zone.offer(now)
		l.do(func() {
			if err == nil {
				err = l.sendKeys(blocks, checks, keys, now)
			}
			if err != nil {
				l.of.opts.Log.Warn("keys were not sent to an issuer's host", slog.String("link", l.name), slog.String("error", err.Error()))
				l.keysUnanswered(now)
			}
		})
	}})
	return later
}

// anyUp is a connection that carries requests; nil when none does. mu is held.
func (l *leg) anyUp() *outlet {
	for _, p := range l.paths {
		for _, o := range p.outlets {
			if o.state == outletUp {
				return o
			}
		}
	}
	return nil
}

// sendKeys sends the host key blocks; keys, where there are any, are those in force. mu is
// held.
func (l *leg) sendKeys(blocks, checks string, keys *workingKeys, now points.Timestamp) (err error) {
	up := l.anyUp()
	if up == nil {
		return errNoConnection
	}
	l.stan = l.stan%maxSTAN + 1
	d := l.of.opts.Dialect
	req := points.Request{
		Function: points.KeyChange, STAN: l.stan, Transmission: stampOf(now), Acquirer: l.profile.Institution, Issuer: l.profile.Zone,
	}
	if err := d.Complete(&req); err != nil {
		return err
	}
	if keys != nil && keys.mac != nil {
		req.Mark(64)
	}
	if l.frame, err = d.AppendKeyChange(l.frame[:0], &req, blocks, checks); err != nil {
		return err
	}
	if keys != nil && keys.mac != nil {
		d.Sign(l.frame, &req, keys.mac)
	}
	l.changing.key, l.changing.kcv = keyOf(&req, dialect.AnswerTo(req.Envelope.MTI)), checks
	w := await{outlet: up, keys: true, sent: now, due: now.Add(l.profile.SignOn).Time()}
	return l.dispatch(up, l.frame, l.changing.key, w)
}

var errNoConnection = errors.New("switch: no connection to the host is up")

// keysAnswered puts in force what the host has taken. mu is held.
func (l *leg) keysAnswered(resp *points.Response, now points.Timestamp) {
	l.changing.sent = false
	zone := l.zone()
	switch {
	case zone == nil:
	case resp.Reason.Approved() && resp.Check == l.changing.kcv:
		l.after = append(l.after, call{do: func() {
			if zone.at(now).offer == resp.Check { // Else it has used them already.
				zone.confirm(resp.Check, now)
			}
			l.of.Wake() // What is owed has waited for this.
		}})
	default:
		l.of.opts.Log.Warn("an issuer's host has not taken the keys that it was sent",
			slog.String("link", l.name), slog.String("de39", resp.Reason.DE39()), slog.String("kcv", resp.Check))
		l.keysUnanswered(now)
	}
}

// keysUnanswered has the keys sent again, in a while. mu is held.
func (l *leg) keysUnanswered(now points.Timestamp) {
	l.changing.sent, l.changing.due = false, now.Add(keyPause)
	l.plan(l.changing.due)
}
