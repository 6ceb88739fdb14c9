package dialect

import (
	"fmt"
	"hash/crc32"
	"strings"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/lianfen/lianfen/points"
)

// What a terminal downloads (DE60.3 of a download; UnionPay POS convention).
const (
	ParameterDownload = 360
	KeyDownload       = 370 // of card schemes' public keys; lianfen has none
	KeyDownloadEnd    = 371
	KeyQuery          = 372
	ChipDownload      = 380 // of chip parameters; lianfen has none
	ChipDownloadEnd   = 381
	ChipQuery         = 382
	BlackListDownload = 390
	BlackListEnd      = 391
)

// Parameters are what a terminal works with: DE62 of the answer to a parameter download,
// tags of two digits, each with a value of fixed length. A tag without a value is not
// sent, and the terminal keeps what it had.
type Parameters struct {
	TimeOut         int       // seconds that it waits for an answer, 1 to 99; 0: not sent
	Retries         int       // that it dials again, 0 to 9; -1: not sent
	Phones          [3]string // that it dials for transactions
	ManagementPhone string
	ManualEntry     *bool // card numbers may be typed in
	AutoSignOff     *bool // it signs off when it has closed its batch
	Name            string
	Resends         int // that it sends a reversal again, 0 to 9; -1: not sent
	Programs        []points.ProgramID
}

// Widths of parameters.
const (
	phoneWidth = 14
	nameWidth  = 40
	// maxPrograms is how many programmes a terminal is told, the first of its merchant's
	// order: more do not fit in DE62.
	maxPrograms = 60
)

// programTag begins the programmes that are accepted, in their order. It is ours, and
// stands last. A terminal that does not know it reads on pair by pair: no pair of it is a
// number, so nothing of it is taken for another tag.
const programTag = "PG"

// Encode returns the parameters as DE62. A name in Chinese is in GBK, as terminals show
// and print it; what GBK does not have is left out, and what is too long is cut.
func (p *Parameters) Encode() string {
	var out strings.Builder
	put := func(tag int, value string, width int) {
		if value != "" {
			fmt.Fprintf(&out, "%02d%s%s", tag, value, strings.Repeat(" ", max(0, width-len(value)))) // in bytes
		}
	}
	number := func(n, least, width int) string {
		if n < least {
			return ""
		}
		return fmt.Sprintf("%0*d", width, n)
	}
	put(12, number(p.TimeOut, 1, 2), 2)
	put(13, number(p.Retries, 0, 1), 1)
	for i, phone := range p.Phones {
		put(14+i, phone, phoneWidth)
	}
	put(17, p.ManagementPhone, phoneWidth)
	put(20, yesOrNo(p.ManualEntry), 1)
	put(21, yesOrNo(p.AutoSignOff), 1)
	put(22, gbk(p.Name, nameWidth), nameWidth)
	put(23, number(p.Resends, 0, 1), 1)
	if len(p.Programs) > 0 {
		out.WriteString(programTag)
	}
	for _, program := range p.Programs[:min(len(p.Programs), maxPrograms)] {
		for _, digit := range fmt.Sprintf("%03d", program) {
			fmt.Fprintf(&out, "P%c", digit)
		}
	}
	return out.String()
}

// Check is a value that tells parameters from others; never 0.
func (p *Parameters) Check() uint32 {
	return max(1, crc32.ChecksumIEEE([]byte(p.Encode())))
}

func yesOrNo(yes *bool) string {
	switch {
	case yes == nil:
		return ""
	case *yes:
		return "1"
	default:
		return NothingToDownload
	}
}

// gbk is text in GBK, at most width bytes of it, without half a character at its end.
func gbk(text string, width int) string {
	var out []byte
	encoder := simplifiedchinese.GBK.NewEncoder()
	for _, c := range text {
		encoded, err := encoder.String(string(c))
		if err != nil {
			continue
		}
		if len(out)+len(encoded) > width {
			break
		}
		out = append(out, encoded...)
	}
	return string(out)
}

// parameterTag is how one tag is called, and how long its value is.
type parameterTag struct {
	width  int
	en, zh string
}

func parameterTags() map[string]parameterTag {
	return map[string]parameterTag{
		"11": {2, "application type", "应用类型"},
		"12": {2, "time-out, seconds", "超时时间"},
		"13": {1, "retries", "重试次数"},
		"14": {phoneWidth, "phone 1", "交易电话1"},
		"15": {phoneWidth, "phone 2", "交易电话2"},
		"16": {phoneWidth, "phone 3", "交易电话3"},
		"17": {phoneWidth, "management phone", "管理电话"},
		"18": {1, "tips", "是否支持小费"},
		"19": {2, "tip, percent", "小费百分比"},
		"20": {1, "manual entry", "是否支持手工输入"},
		"21": {1, "automatic sign-off", "是否自动签退"},
		"22": {nameWidth, "merchant's name", "商户名称"},
		"23": {1, "resends", "交易重发次数"},
		"24": {1, "off-line sending", "离线上送方式"},
		"25": {1, "key index", "主密钥索引"},
		"26": {4, "functions", "交易开关"},
	}
}

// explainParameters takes the DE62 of a parameter download apart, as far as it has known
// tags.
func explainParameters(value string) (parts []ExplainedPart) {
	tags := parameterTags()
	for len(value) >= 2 {
		tag, known := tags[value[:2]]
		if value[:2] == programTag {
			programs := strings.ReplaceAll(value[2:], "P", "")
			var list []string
			for ; len(programs) >= 3; programs = programs[3:] {
				list = append(list, programs[:3])
			}
			return append(parts, ExplainedPart{"programmes", "受理积分计划", strings.Join(list, " ")})
		}
		if !known || len(value) < 2+tag.width {
			return parts
		}
		text, err := simplifiedchinese.GBK.NewDecoder().String(value[2:][:tag.width])
		if err != nil {
			text = "(not GBK)"
		}
		parts = append(parts, ExplainedPart{tag.en, tag.zh, strings.TrimRight(text, " ")})
		value = value[2+tag.width:]
	}
	return parts
}

// NothingToDownload is DE62 of the answer where a list is empty.
const NothingToDownload = "0"

// blackPage is how many prefixes one answer lists: 13 characters each at most.
const blackPage = 30

// MaxBlackList is how many prefixes a black list has at most: a terminal names where it
// goes on in three digits.
const MaxBlackList = 999

// BlackListPage returns the page of a black list that a terminal asks for, as DE62: one
// digit (0 there are none, 1 these are all, 2 more follow, 3 these are the last), then
// for each prefix its length 2 and its digits. In the request DE62 says in three digits
// how many the terminal has; none at first.
func BlackListPage(prefixes []string, req *points.Request) string {
	prefixes = prefixes[:min(len(prefixes), MaxBlackList)]
	have := 0
	if asked := req.Product[:3]; classN.holds(asked) {
		have = int(number(asked)) //nolint:gosec // three digits.
	}
	rest := prefixes[min(have, len(prefixes)):]
	page := rest[:min(len(rest), blackPage)]
	state := byte('2')
	switch {
	case len(page) == 0:
		return "0"
	case len(page) == len(prefixes):
		state = '1'
	case len(page) == len(rest):
		state = '3'
	}
	out := []byte{state}
	for _, prefix := range page {
		out = fmt.Appendf(out, "%02d%s", len(prefix), prefix)
	}
	return string(out)
}
