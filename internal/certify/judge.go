package certify

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// judge compares what came of a step with what must, and keeps what later steps
// refer to.
func (r *runner) judge(s *scene, step *Step, x *exchange, sent, got *message, outcome string, result *StepResult) {
	e := &step.Expect
	result.check(Check{
		What: "what comes of it", WhatZH: "结果", Expected: expectedOutcome(e), Got: outcome, Passed: e.accepts(outcome),
	})
	if got == nil {
		return
	}
	result.Got = frameResult(got)
	x.got, x.response = got.body, got.answer
	s.answers = append(s.answers, *x)
	if !e.accepts(outcomeAnswer) {
		return
	}
	r.remember(x)
	j := &judgement{r: r, scene: s, expect: e, sent: sent, got: got, result: result}
	j.envelope()
	j.code()
	j.echo()
	j.fields()
	j.amounts()
	j.same()
	j.keys(x)
	if e.Closed {
		j.closed()
	}
}

// remember keeps the batch that a sign-on set.
func (r *runner) remember(x *exchange) {
	r.sender.till(x.request.Terminal).Hear(&x.request, &x.response)
	if x.request.Function == points.SignOn && x.response.Reason.Approved() && x.response.Batch != 0 {
		r.sender.batches[x.request.Terminal] = x.response.Batch
	}
}

func expectedOutcome(e *Expectation) string {
	if len(e.Outcome) == 0 {
		return outcomeAnswer
	}
	return strings.Join(e.Outcome, " or ")
}

// judgement is the comparison of one answer.
type judgement struct {
	r      *runner
	scene  *scene
	expect *Expectation
	sent   *message // nil: no frame was sent
	got    *message
	result *StepResult
}

// check notes one comparison.
func (j *judgement) check(field int, what, zh, expected, got string, passed bool) {
	if field != 0 {
		en, chinese := j.name(field)
		what, zh = strings.TrimSpace(fmt.Sprintf("DE%d %s %s", field, en, what)), fmt.Sprintf("域%d %s%s", field, chinese, zh)
	}
	j.result.check(Check{What: what, WhatZH: zh, Field: field, Expected: expected, Got: got, Passed: passed})
}

// name is what a data element is called, as far as one of the two frames tells.
func (j *judgement) name(field int) (en, zh string) {
	for _, m := range []*message{j.got, j.sent} {
		if m == nil {
			continue
		}
		for i := range m.explained.Fields {
			if f := &m.explained.Fields[i]; f.Number == field {
				return f.Name, f.Chinese
			}
		}
	}
	return "", ""
}

// envelope looks at what stands before the fields, and at whether all of the
// answer can be read.
func (j *judgement) envelope() {
	field, unread := 0, "it can"
	if j.got.fault != nil {
		unread = j.got.fault.Error()
		if j.got.explained.Fault != nil {
			field = j.got.explained.Fault.Field
		}
	}
	j.check(field, "can be read", "可解析", "it can", unread, j.got.fault == nil)
	if want := j.wantedMTI(); want != "" {
		j.check(0, "message type", "消息类型", want, j.got.mti(), j.got.mti() == want)
	}
	if e := j.expect.Wide; e != nil {
		j.check(0, "bitmap", "位图", width(*e), width(j.got.wide()), j.got.wide() == *e)
	}
	if j.sent == nil || j.sent.explained.TPDU == "" || j.got.explained.TPDU == "" {
		return
	}
	tpdu := j.sent.explained.TPDU
	swapped := tpdu[:2] + tpdu[6:] + tpdu[2:6]
	j.check(0, "TPDU, addresses swapped", "TPDU地址互换", swapped, j.got.explained.TPDU, swapped == j.got.explained.TPDU)
	// The low half of the third byte is the switch's: a request to the terminal.
	const at = 5
	header, theirs := []byte(j.sent.explained.Header), []byte(j.got.explained.Header)
	header[at], theirs[at] = '*', '*'
	j.check(0, "header", "报文头", string(header), string(theirs), bytes.Equal(header, theirs))
}

func width(wide bool) string {
	if wide {
		return "128 bits"
	}
	return "64 bits"
}

// wantedMTI is the message type that the answer must have, "" where the request
// had none.
func (j *judgement) wantedMTI() string {
	if j.expect.MTI != "" {
		return j.expect.MTI
	}
	if j.sent == nil || j.sent.mti() == "" {
		return ""
	}
	mti, err := strconv.Atoi(j.sent.mti())
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%04d", mti-mti%10+10)
}

func (j *judgement) code() {
	want := j.expect.Code
	if len(want) == 0 {
		want = words{points.Approved.DE39()}
	}
	got := j.value(39)
	j.check(39, "", "", strings.Join(want, " or "), got, slices.Contains(want, got))
}

// absentValue is shown for a data element that is not there.
const absentValue = "absent"

func (j *judgement) value(field int) string {
	if _, there := j.got.fields[field]; !there {
		return absentValue
	}
	return j.got.values[field]
}

// echoed are the data elements that every answer gives back as they came, where
// the request carried them: what the other side finds its request by.
func (j *judgement) echoed() []int {
	if j.sent == nil {
		return j.expect.Echo
	}
	all := []int{3, 4, 11, 41, 42}
	if j.r.opts.Parameters.Profile == ProfileIssuer {
		all = []int{3, 4, 7, 11, 32, 37, 41, 42}
	}
	switch {
	case j.sent.fault != nil || slices.Contains(j.expect.Code, points.FormatError.DE39()):
		all = nil // What could be read of it is the target's affair.
	case j.value(39) == points.ApprovedPartly.DE39() || j.expect.Amount.given():
		all = slices.DeleteFunc(all, func(de int) bool { return de == 4 })
	}
	all = slices.DeleteFunc(all, func(de int) bool { return j.sent.fields[de] == nil })
	return append(all, j.expect.Echo...)
}

func (j *judgement) echo() {
	for _, de := range j.echoed() {
		if j.sent == nil {
			continue
		}
		ours, theirs := j.sent.fields[de], j.got.fields[de]
		got := j.value(de)
		switch {
		case got != j.sent.values[de] || bytes.Equal(ours, theirs):
		case j.got.secret(de):
			got = "another value, which is not shown"
		default:
			got = "other bytes: " + hex.EncodeToString(theirs)
		}
		j.check(de, "echoed", "原样返回", j.sent.values[de], got, bytes.Equal(ours, theirs))
	}
}

// fields looks at presence, absence, format and value.
func (j *judgement) fields() {
	for _, de := range j.expect.Present {
		_, there := j.got.fields[de]
		j.check(de, "", "", "present", j.value(de), there)
	}
	for _, de := range j.expect.Absent {
		_, there := j.got.fields[de]
		j.check(de, "", "", absentValue, j.value(de), !there)
	}
	for _, de := range slices.Sorted(maps.Keys(j.expect.Format)) {
		pattern := j.expect.Format[de]
		matches := regexp.MustCompile(`\A(?:` + pattern + `)\z`).MatchString(j.value(de)) // It was compiled when it was read.
		j.check(de, "format", "格式", pattern, j.value(de), matches)
	}
	for _, de := range slices.Sorted(maps.Keys(j.expect.Value)) {
		j.check(de, "", "", j.expect.Value[de], j.value(de), j.value(de) == j.expect.Value[de])
	}
}

// amounts looks at amount and balance, and captures what later steps count with.
func (j *judgement) amounts() {
	j.amount(4, &j.expect.Amount, "amount")
	j.amount(54, &j.expect.Available, "available")
	for _, name := range slices.Sorted(maps.Keys(j.expect.Capture)) {
		what := j.expect.Capture[name]
		n, ok := j.counted(what)
		if !ok {
			j.check(0, what+" is told", "余额返回", "a number", absentValue, false)
			continue
		}
		j.scene.captured[name] = n
	}
}

func (j *judgement) amount(field int, e *Expression, what string) {
	if !e.given() {
		return
	}
	want, err := e.value(j.scene.captured, j.r.opts.Parameters.Amounts)
	if err != nil {
		j.check(field, what, "", e.text, err.Error(), false)
		return
	}
	got, ok := j.counted(what)
	shown := absentValue
	if ok {
		shown = strconv.FormatInt(got, 10)
	}
	j.check(field, what, "", fmt.Sprintf("%d (%s)", want, e.text), shown, ok && got == want)
}

// counted returns a number of the answer.
func (j *judgement) counted(what string) (int64, bool) {
	if what == "amount" {
		_, there := j.got.fields[4]
		return int64(j.got.answer.Amount), there
	}
	kind := points.AvailableBalance
	if what == "ledger" {
		kind = points.LedgerBalance
	}
	resp := &j.got.answer
	for _, b := range resp.Balances[:resp.NBalances] {
		if b.Kind == kind {
			return int64(b.Amount), true
		}
	}
	return 0, false
}

func (j *judgement) same() {
	if j.expect.Same == "" {
		return
	}
	first := j.scene.exchanges[j.expect.Same]
	got := "the same bytes"
	field := 0
	if !bytes.Equal(first.got, j.got.body) {
		got, field = j.difference(takeApart(j.r.dialect, first.got))
	}
	j.check(field, "same as the answer to "+j.expect.Same, "应答与首次相同", "the same bytes", got, bytes.Equal(first.got, j.got.body))
}

// difference names the first data element in which the answer is not what first was.
func (j *judgement) difference(first *message) (what string, field int) {
	for de := 2; de <= lastField; de++ {
		if !bytes.Equal(first.fields[de], j.got.fields[de]) {
			was := first.values[de]
			if first.fields[de] == nil {
				was = absentValue
			}
			return fmt.Sprintf("DE%d %s, at first %s", de, j.value(de), was), de
		}
	}
	return "other bytes before the fields", 0
}

// closed waits for the target to hang up behind its answer.
func (j *judgement) closed() {
	_, err := j.scene.conn.next(j.r.opts.Clock().Add(j.r.opts.Parameters.Within))
	got := "it stays open"
	if err != nil && err != errNothing { //nolint:errorlint // next returns errNothing itself.
		got = "closed"
	}
	j.check(0, "the connection behind the answer", "应答后连接", "closed", got, got == "closed")
}
