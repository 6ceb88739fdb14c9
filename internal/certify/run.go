package certify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Options of a run.
type Options struct {
	Target string // host:port
	// Dial connects to the target for what a terminal sends first, zero in profile issuer;
	// nil: plain TCP.
	Dial       func(ctx context.Context, address string, terminal points.TerminalID) (net.Conn, error)
	Parameters *Parameters
	Scripts    []*Script
	Clock      points.Clock
	// Key finds the keys of terminals with keys; nil, or no key: what needs
	// them is skipped.
	Key FindKey
	// FirstSTAN is the trace number before the first. Runs against one target
	// begin at different ones, or the second is a repeat of the first.
	FirstSTAN points.STAN
	// Only are patterns as of [path.Match]; cases whose id matches none are left
	// out. None: all are played.
	Only []string
	// Quiet is how long the kit listens for what nobody asked for, once behind
	// every case; 50 ms by default.
	Quiet time.Duration
}

// maxFrames bounds what is read from the target in one step.
const maxFrames = 100

// defaultQuiet is long enough for an answer that was sent twice at once.
const defaultQuiet = 50 * time.Millisecond

// ErrNoCase says that the patterns of [Options] fit no case.
var ErrNoCase = errors.New("certify: no case is called")

// Run plays the scripts in order and tells of each case as it ends. It goes on
// after a difference. Its errors are a pattern that matches no case or cannot be
// read, a target that cannot be reached, the end of ctx, and those of tell.
func Run(ctx context.Context, opts Options, tell func(*CaseResult) error) (*Report, error) {
	d, err := dialect.ByName(opts.Parameters.Dialect)
	if err != nil {
		return nil, fmt.Errorf("certify: %w", err)
	}
	if opts.Quiet == 0 {
		opts.Quiet = defaultQuiet
	}
	r := &runner{opts: opts, dialect: d, sender: sender{
		parameters: opts.Parameters, dialect: d, clock: opts.Clock, stan: opts.FirstSTAN, batches: make(map[points.TerminalID]uint32),
	}}
	if err := r.sender.equip(opts.Key); err != nil {
		return nil, err
	}
	report := &Report{Profile: opts.Parameters.Profile, Target: opts.Target, Began: opts.Clock()}
	for _, script := range opts.Scripts {
		result := ScriptResult{File: script.file, Title: script.Title, TitleZH: script.TitleZH}
		for i := range script.Cases {
			wanted, err := r.wanted(script.Cases[i].ID)
			if err != nil {
				return nil, err
			}
			if !wanted {
				continue
			}
			played, err := r.play(ctx, script, &script.Cases[i])
			if err != nil {
				return nil, fmt.Errorf("case %s: %w", script.Cases[i].ID, err)
			}
			report.add(played)
			result.Cases = append(result.Cases, *played)
			if err := tell(played); err != nil {
				return nil, err
			}
		}
		report.Scripts = append(report.Scripts, result)
	}
	if report.Passed+report.Failed+report.Skipped == 0 {
		return nil, fmt.Errorf("%w %q", ErrNoCase, strings.Join(opts.Only, ", "))
	}
	report.Took = opts.Clock().Sub(report.Began)
	return report, nil
}

// runner is one run.
type runner struct {
	opts    Options
	dialect *dialect.Dialect
	sender  sender
}

// wanted reports whether a case is to be played.
func (r *runner) wanted(id string) (bool, error) {
	for _, pattern := range r.opts.Only {
		if ok, err := path.Match(pattern, id); ok || err != nil {
			return ok, err
		}
	}
	return len(r.opts.Only) == 0, nil
}

// scene is a case while it is played.
type scene struct {
	conn      *conn
	exchanges map[string]*exchange // by the steps' names
	answers   []exchange           // all that were answered, in order
	captured  map[string]int64
}

// play plays one case on a connection of its own. An error is a target that
// cannot be reached.
func (r *runner) play(ctx context.Context, script *Script, c *Case) (*CaseResult, error) {
	result := &CaseResult{ID: c.ID, Title: c.Title, TitleZH: c.TitleZH, Verdict: Passed}
	var steps []Step
	if !c.Bare {
		steps = append(steps, script.Before...)
	}
	steps = append(steps, c.Steps...)
	result.Missing = missing(r.opts.Parameters, steps)
	for i := range steps {
		if name := steps[i].terminal(); r.sender.keyless(name) {
			result.Missing = append(result.Missing, "the key of terminal "+name+", in a keystore")
		}
	}
	if result.Missing = slices.Compact(result.Missing); len(result.Missing) > 0 {
		result.Verdict = Skipped
		return result, nil
	}
	began := r.opts.Clock()
	s := &scene{exchanges: map[string]*exchange{}, captured: map[string]int64{}}
	defer func() { r.hangUp(s) }()
	for i := range steps {
		played := StepResult{Number: i + 1, Line: steps[i].line, Title: steps[i].Title, TitleZH: steps[i].TitleZH}
		goOn, err := r.step(ctx, s, &steps[i], &played)
		if err != nil {
			return nil, err
		}
		if i == len(steps)-1 {
			r.listen(s, &played)
		}
		if !played.passed() {
			result.Verdict = Failed
		}
		result.Steps = append(result.Steps, played)
		if !goOn {
			break
		}
	}
	result.Took = r.opts.Clock().Sub(began)
	return result, nil
}

func (r *runner) hangUp(s *scene) {
	if s.conn != nil {
		_ = s.conn.Close() // The target may have closed it before.
		s.conn = nil
	}
}

// step does what a step says and looks at what comes. goOn is false when the steps
// behind it have nothing to stand on. An error is a target that cannot be reached.
func (r *runner) step(ctx context.Context, s *scene, step *Step, result *StepResult) (goOn bool, err error) {
	if result.Title == "" {
		result.Title, result.TitleZH = step.plainTitle()
	}
	if step.Disconnect {
		r.hangUp(s)
		return true, nil
	}
	x, bytes, err := r.prepare(s, step)
	if err != nil {
		result.check(Check{What: "the step can be played", WhatZH: "步骤可执行", Expected: "a message", Got: err.Error()})
		return false, nil
	}
	x.step = result.Number
	if step.As != "" {
		s.exchanges[step.As] = x
	}
	var sent *message
	if x.sent != nil {
		sent = takeApart(r.dialect, x.sent)
		result.Sent = frameResult(sent)
	} else {
		result.Sent = rawResult(bytes)
	}
	if step.Unsent {
		return true, nil
	}
	if s.conn == nil {
		// Of a terminal whose number is none the switch finds out by what it sends.
		terminal, _ := points.ParseTerminalID(r.opts.Parameters.Terminals[step.terminal()].ID)
		if s.conn, err = r.opts.dial(ctx, terminal); err != nil {
			return false, err
		}
	}
	began := r.opts.Clock()
	line := s.conn
	stop := context.AfterFunc(ctx, func() { _ = line.Close() })
	defer stop()
	within := r.within(step)
	if err := s.conn.send(bytes, within); err != nil {
		result.check(Check{What: "the target reads", WhatZH: "对方接收报文", Expected: "it does", Got: err.Error()})
		return false, nil
	}
	got, outcome := r.await(s, sent, result, began.Add(within))
	result.Took = r.opts.Clock().Sub(began)
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("certify: %w", err)
	}
	r.judge(s, step, x, sent, got, outcome, result)
	return got != nil || step.Expect.accepts(outcome), nil
}

// within is how long a step's answer, or its silence, is waited for.
func (r *runner) within(step *Step) time.Duration {
	if step.Expect.Within > 0 {
		return step.Expect.Within
	}
	return r.opts.Parameters.Within
}

// plainTitle is what a step without a title is called.
func (s *Step) plainTitle() (en, zh string) {
	about := func(name string) string {
		if name == "" {
			return ""
		}
		return " of " + name
	}
	switch {
	case s.Send != "":
		return strings.ReplaceAll(s.Send, "_", " ") + about(s.Of), chinese(s.Send)
	case s.Repeat != "":
		return "repeat" + about(s.Repeat), "重发"
	case s.Raw != "":
		return "bytes as a frame", "原始报文"
	case s.Stream != "":
		return "bytes without a length", "原始字节"
	default:
		return "disconnect", "断开连接"
	}
}

// chinese is what a function is called in Chinese.
func chinese(function string) string {
	names := map[string]string{
		"sign_on": "签到", "sign_off": "签退", "echo": "回响测试", "balance": "积分查询", "redeem": "积分消费", "earn": "积分累积",
		"void": "撤销", "refund": "退货", "pre_auth": "预授权", "pre_auth_void": "预授权撤销", "completion": "预授权完成",
		"completion_advice": "预授权完成通知", "completion_void": "预授权完成撤销", "offline_redeem": "离线消费通知",
		"offline_earn": "离线累积通知", "transfer": "转赠", "reversal": "冲正",
		"batch_close": "批结算", "batch_upload": "批上送", "batch_upload_end": "批上送结束", "download": "参数下载",
	}
	if name, known := names[function]; known {
		return name
	}
	return "发送报文"
}

// prepare makes what a step sends: the exchange, and the bytes for the wire.
// Without a frame in the exchange the bytes are no frame.
func (r *runner) prepare(s *scene, step *Step) (x *exchange, bytes []byte, err error) {
	x = new(exchange)
	switch {
	case step.Send != "":
		if o := s.exchanges[step.Of]; step.Of != "" && o.got == nil && !step.needsNoAnswer() {
			return nil, nil, fmt.Errorf("step %d was not answered", o.step)
		}
		x.request, x.sent, err = r.sender.build(step, s.exchanges, s.captured)
	case step.Repeat != "":
		first := s.exchanges[step.Repeat]
		x.request = first.request
		x.sent, err = takeApart(r.dialect, first.sent).edited(step.MTI, step.Remove, step.Wire)
	case step.Raw != "":
		x.sent, err = unhex(step.Raw)
	default:
		bytes, err = unhex(step.Stream)
		return x, bytes, err
	}
	return x, framed(x.sent), err
}

// needsNoAnswer reports whether a message about an earlier one needs nothing of
// the answer to that: a reversal or an enquiry names the request, and a switch names every
// original by its request.
func (s *Step) needsNoAnswer() bool {
	return s.Send == points.Reversal.String() || s.Send == points.SwapEnquiry.String()
}

// await waits for the answer to what was sent. What else comes is noted: a request
// of the target's own is answered, an answer that belongs to nothing is a
// difference.
func (r *runner) await(s *scene, sent *message, result *StepResult, due points.Timestamp) (got *message, outcome string) {
	var stray *message
	for range maxFrames {
		frame, err := s.conn.next(due)
		switch {
		case errors.Is(err, errNothing) && stray != nil:
			return stray, outcomeAnswer // It is the answer, with something wrong in it.
		case errors.Is(err, errNothing):
			return nil, outcomeSilent
		case err != nil && stray != nil:
			return stray, outcomeAnswer
		case err != nil:
			return nil, outcomeClosed
		}
		m := takeApart(r.dialect, frame)
		switch {
		case r.asked(s, m, result) || r.again(s, sent, m, result):
		case belongs(sent, m):
			return m, outcomeAnswer
		default:
			stray = m
			due = min(due, r.opts.Clock().Add(r.opts.Quiet))
		}
	}
	result.check(Check{What: "the target waits to be asked", WhatZH: "对方不主动发送", Expected: "one answer", Got: fmt.Sprintf("%d frames", maxFrames)})
	return stray, outcomeSilent
}

// asked answers a request of the target's own. It reports false when m is none.
func (r *runner) asked(s *scene, m *message, result *StepResult) bool {
	if m.mti() == "" || m.explained.Answer {
		return false
	}
	if r.opts.Parameters.Profile == ProfilePOS {
		result.check(Check{What: "only answers come", WhatZH: "仅收到应答", Expected: "an answer", Got: "a request, message type " + m.mti()})
		return true
	}
	answer := framed(r.dialect.AppendResponse(nil, &m.echoed, &points.Response{Reason: points.Approved}))
	if err := s.conn.send(answer, r.opts.Parameters.Within); err != nil {
		result.check(Check{What: "the target reads", WhatZH: "对方接收报文", Expected: "it does", Got: err.Error()})
	}
	return true
}

// again notes an answer that came before, byte for byte, to another request. It
// reports false when m is none.
func (r *runner) again(s *scene, sent, m *message, result *StepResult) bool {
	if sent != nil && belongs(sent, m) {
		return false
	}
	for i := range s.answers {
		if bytes.Equal(s.answers[i].got, m.body) {
			result.check(Check{
				What: "every request is answered once", WhatZH: "每个请求仅应答一次",
				Expected: "one answer", Got: fmt.Sprintf("the answer to step %d came again", s.answers[i].step),
			})
			return true
		}
	}
	return false
}

// belongs reports whether got can be the answer to sent: of its class and, where
// both carry one, under its trace number.
func belongs(sent, got *message) bool {
	if sent == nil || sent.mti() == "" || got.mti() == "" {
		return true
	}
	if sent.mti()[1] != got.mti()[1] {
		return false
	}
	theirs, there := got.fields[11]
	return !there || sent.fields[11] == nil || bytes.Equal(theirs, sent.fields[11])
}

// listen waits behind a case for what nobody asked for.
func (r *runner) listen(s *scene, result *StepResult) {
	if s.conn == nil {
		return
	}
	due := r.opts.Clock().Add(r.opts.Quiet)
	for range maxFrames {
		frame, err := s.conn.next(due)
		if err != nil {
			return // Nothing, or closed, which is the target's affair now.
		}
		m := takeApart(r.dialect, frame)
		if r.asked(s, m, result) {
			continue
		}
		got := "an answer that belongs to no request"
		for i := range s.answers {
			if bytes.Equal(s.answers[i].got, m.body) {
				got = fmt.Sprintf("the answer to step %d came again", s.answers[i].step)
			}
		}
		result.check(Check{What: "every request is answered once", WhatZH: "每个请求仅应答一次", Expected: "nothing more", Got: got})
	}
}
