package dialect

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// framesDir holds the golden frames: for each room one file per message family,
// with the frame in hexadecimal, what it decodes to, and the answer to it. The
// requests were not made by this package.
const framesDir = "../../testdata/frames"

// A golden request decodes to what stands beside it and encodes to the same bytes
// again; its answers are what they were, byte for byte, and decode to what they say.
func TestGoldenFrames(t *testing.T) {
	for _, d := range []*Dialect{Pos(), Host()} {
		datadriven.Walk(t, filepath.Join(framesDir, d.Name()), func(t *testing.T, path string) {
			var story goldenStory
			datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
				switch td.Cmd {
				case "decode":
					return story.decode(t, d, td)
				case "answer":
					return story.answer(t, d, td)
				default:
					td.Fatalf(t, "unknown command %s", td.Cmd)
					return ""
				}
			})
		})
	}
}

// goldenStory is the request that the answers below it are to.
type goldenStory struct {
	frame []byte
	req   points.Request
}

// decode reads a frame. "lossy" says that it carries what a request does not keep,
// so that it does not come out of AppendRequest as it was; "upload" that its DE48
// are items.
func (s *goldenStory) decode(t *testing.T, d *Dialect, td *datadriven.TestData) string {
	s.frame = unhex(t, td.Input)
	err := d.Decode(s.frame, &s.req)
	out := describe(&s.req)
	if err != nil {
		require.Equal(t, points.FormatError, points.ReasonOf(err))
		wrong := formatErrorOf(err)
		require.NotNil(t, wrong)
		if wrong.Fatal {
			return fmt.Sprintf("fatal: %v\n", err)
		}
		return out + fmt.Sprintf("error: %v\n", err)
	}
	var again []byte
	switch {
	case td.HasArg("upload"):
		items, err := d.DecodeUpload(s.frame)
		require.NoError(t, err)
		for _, item := range items {
			out += fmt.Sprintf("item: kind %02d STAN %s card %s amount %d\n", item.Kind, item.STAN, item.PAN, item.Amount)
		}
		again, err = d.AppendUpload(nil, &s.req, items)
		require.NoError(t, err)
	case td.HasArg("lossy"):
		return out
	default:
		again, err = d.AppendRequest(nil, &s.req)
		require.NoError(t, err)
	}
	require.Equal(t, strings.ToUpper(hex.EncodeToString(s.frame)), strings.ToUpper(hex.EncodeToString(again)),
		"%s: AppendRequest differs from the frame", td.Pos)
	return out
}

func (s *goldenStory) answer(t *testing.T, d *Dialect, td *datadriven.TestData) string {
	resp := scanResponse(t, td)
	var frame []byte
	if s.req.Function == points.BatchUpload {
		frame = d.AppendUploadResponse(nil, s.frame, &s.req, &resp)
	} else {
		frame = d.AppendResponse(nil, &s.req, &resp)
	}
	var (
		gotReq points.Request
		got    points.Response
	)
	require.NoError(t, d.DecodeResponse(frame, &gotReq, &got), "%s", td.Pos)
	require.Equal(t, d.answers[resp.Reason.DE39()], got.Reason, "%s", td.Pos)
	require.Equal(t, s.req.STAN, gotReq.STAN, "%s", td.Pos)
	require.Equal(t, s.req.Terminal, gotReq.Terminal, "%s", td.Pos)
	require.Equal(t, resp.Position, got.Position, "%s", td.Pos)
	if resp.Reason.Approved() {
		require.Equal(t, resp.Used, got.Used, "%s", td.Pos)
		require.Equal(t, resp.SelfPaid, got.SelfPaid, "%s", td.Pos)
		require.Equal(t, resp.Balances, got.Balances, "%s", td.Pos)
		require.Equal(t, resp.AuthCode, got.AuthCode, "%s", td.Pos)
	}
	explained, err := d.Explain(frame)
	require.NoError(t, err)
	var out strings.Builder
	out.WriteString(hexLines(frame))
	fmt.Fprintf(&out, "%s %s\n", explained.MTI, explained.Dialect)
	rows := [][]string{}
	for _, f := range explained.Fields {
		rows = append(rows, []string{fmt.Sprintf("%3d", f.Number), f.Name, f.Value})
		for _, p := range f.Parts {
			rows = append(rows, []string{"", "- " + p.Name, p.Value})
		}
	}
	writeAligned(&out, rows)
	return out.String()
}

func scanResponse(t *testing.T, td *datadriven.TestData) points.Response {
	var resp points.Response
	for _, arg := range td.CmdArgs {
		value := strings.Join(arg.Vals, "")
		var err error
		switch arg.Key {
		case "reason":
			err = resp.Reason.UnmarshalText([]byte(value))
		case "position":
			_, err = fmt.Sscan(value, &resp.Position)
		case "auth":
			copy(resp.AuthCode[:], value)
		case "date":
			resp.Date, err = points.ParseBusinessDate(value)
			resp.LocalDate = resp.Date.MMDD()
		case "time":
			_, err = fmt.Sscanf(value, "%d", &resp.LocalTime)
		case "amount":
			_, err = fmt.Sscan(value, &resp.Amount)
		case "acquirer":
			_, err = fmt.Sscan(value, &resp.Acquirer)
		case "issuer":
			_, err = fmt.Sscan(value, &resp.Issuer)
		case "program":
			_, err = fmt.Sscan(value, &resp.Program)
		case "used":
			_, err = fmt.Sscan(value, &resp.Used)
		case "selfpaid":
			_, err = fmt.Sscan(value, &resp.SelfPaid)
		case "batch":
			_, err = fmt.Sscan(value, &resp.Batch)
		case "please":
			_, err = fmt.Sscan(value, &resp.Please)
		case "list":
			resp.List = strings.ReplaceAll(value, "_", " ")
		case "field":
			_, err = fmt.Sscan(value, &resp.Field)
		case "detail":
			resp.Detail = value
		case "balances":
			for _, entry := range arg.Vals {
				var b points.Balance54
				_, err = fmt.Sscanf(entry, "%d/%d/%d", &b.Kind, &b.Program, &b.Amount)
				require.NoError(t, err, entry)
				resp.AddBalance(b)
			}
		default:
			td.Fatalf(t, "unknown argument %s", arg.Key)
		}
		require.NoError(t, err, "%s %s", td.Pos, arg.Key)
	}
	return resp
}

// describe writes every field of a request that is not zero, and the elements that
// were there.
func describe(req *points.Request) string {
	var out strings.Builder
	v := reflect.ValueOf(*req)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || v.Field(i).IsZero() {
			continue
		}
		value := v.Field(i).Interface()
		switch f.Name {
		case "Envelope":
			e := req.Envelope
			fmt.Fprintf(&out, "MTI: %04d", e.MTI)
			if e.TPDU[0] != 0 {
				fmt.Fprintf(&out, "  TPDU %X  header %X", e.TPDU, e.Header)
			}
			fmt.Fprintf(&out, "  wide %t  hex %t\n", e.Wide, e.HexMap)
		case "PIN": // Which hides itself from every verb.
			fmt.Fprintf(&out, "%s: %X\n", f.Name, [16]byte(req.PIN))
		case "MAC", "KSN":
			fmt.Fprintf(&out, "%s: %X\n", f.Name, value)
		case "RRN", "AuthCode", "Answer", "Product", "Operator":
			fmt.Fprintf(&out, "%s: %s\n", f.Name, strings.TrimRight(fmt.Sprintf("%s", value), "\x00"))
		default:
			fmt.Fprintf(&out, "%s: %+v\n", f.Name, value)
		}
	}
	out.WriteString("fields:")
	for de := 1; de <= lastElement; de++ {
		if req.Has(de) {
			fmt.Fprintf(&out, " %d", de)
		}
	}
	out.WriteByte('\n')
	return out.String()
}

// hexLines writes forty bytes a line.
func hexLines(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		n := min(len(b), 40)
		fmt.Fprintf(&out, "%X\n", b[:n])
		b = b[n:]
	}
	return out.String()
}

func unhex(t testing.TB, text string) []byte {
	frame, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	require.NoError(t, err)
	return frame
}

// goldenFrames returns the request and answer frames of a room.
func goldenFrames(t testing.TB, room string) (requests, answers [][]byte) {
	paths, err := filepath.Glob(filepath.Join(framesDir, room, "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for block := range strings.SplitSeq(string(text), "\n\n") {
			_, command, _ := strings.Cut("\n"+block, "\ndecode")
			if _, input, found := strings.Cut(command, "\n"); found {
				input, _, _ = strings.Cut(input, "----")
				requests = append(requests, unhex(t, input))
			} else if strings.Contains(block, "answer ") {
				answers = append(answers, unhex(t, frameDigits(block)))
			}
		}
	}
	require.NotEmpty(t, requests)
	require.NotEmpty(t, answers)
	return requests, answers
}
