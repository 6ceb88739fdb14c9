package pointswitch_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// pinBlock is a PIN block of format 0.
const pinBlock = "\x5b\xa6\xcd\x53\x74\xca\x73\x66"

// request makes the request that a command describes. What it does not say is:
// terminal T1 of SHOP and batch 1 in pos; merchant MALL, terminal OWN1 and the
// partner's acquirer, now, in host; the next free STAN.
//
//	of=NAME        the original: DE37, 38 and 61 of pos, DE90 of host
//	by38=NAME      host: the original by DE38 and the card alone
//	by61=NAME      pos: the original by DE61 alone
//	shown=URI      on a connection that has shown to be this one
//	sent=DURATION  host: DE7 lies so far from now
//	debits=A/N     of a close: amount and number; credits, undone_debits, undone_credits too
//	spoil=(A,B)    the frame has B where it has A last
//	drop=N         the frame lacks DE N
func (s *story) request(td *datadriven.TestData) points.Request {
	var req points.Request
	require.NoError(s.t, req.Function.UnmarshalText([]byte(td.CmdArgs[0].Key)), "%s", td.Pos)
	host := td.HasArg("host")
	s.stan++
	req.STAN = s.stan
	req.Batch, req.EntryMode = 1, 21
	req.Terminal, req.Merchant = parseTerminal(s.t, "T1"), parseMerchant(s.t, "SHOP")
	if host {
		req.Batch, req.EntryMode = 0, 0
		req.Terminal, req.Merchant = parseTerminal(s.t, "OWN1"), parseMerchant(s.t, "MALL")
		req.Acquirer, req.Transmission = partner, s.stampNow()
		copy(req.RRN[:], "PARTNER00001")
		if req.Function == points.SignOn || req.Function == points.Echo || req.Function == points.SignOff || req.Function == points.CutOverNotice || req.Function == points.KeyChange {
			req.RRN, req.Terminal, req.Merchant = [12]byte{}, points.TerminalID{}, points.MerchantID{}
		}
	}
	for _, arg := range td.CmdArgs[1:] {
		s.argument(&req, td, arg.Key, arg.Vals)
	}
	if req.Function == points.BatchClose && host {
		req.RRN, req.Terminal, req.Merchant = [12]byte{}, points.TerminalID{}, points.MerchantID{}
	}
	if req.Function == points.SignOn || req.Function == points.Refund || req.Function == points.BatchClose {
		copy(req.Operator[:], "001")
	}
	if td.HasArg("stan") {
		s.stan = max(s.stan, req.STAN)
	}
	return req
}

// argument sets one field of a request.
func (s *story) argument(req *points.Request, td *datadriven.TestData, key string, values []string) {
	s.t.Helper()
	value := ""
	if len(values) > 0 {
		value = values[0]
	}
	switch key {
	case "host", "conn", "shown", "as", "spoil", "drop", "later":
	case "terminal":
		req.Terminal = parseTerminal(s.t, value)
	case "merchant":
		req.Merchant = parseMerchant(s.t, value)
	case "card":
		req.PAN = parsePAN(s.t, cards()[value])
	case "to":
		req.TargetPAN = parsePAN(s.t, cards()[value])
	case "amount":
		req.Amount = points.Amount(integer(s.t, value))
		req.Mark(4)
	case "program":
		req.Program = points.ProgramID(integer(s.t, value))
	case "stan":
		req.STAN = points.STAN(integer(s.t, value))
	case "batch":
		req.Batch = uint32(integer(s.t, value))
	case "account":
		req.AccountType = uint16(integer(s.t, value))
	case "acquirer":
		req.Acquirer = points.AcquirerID(integer(s.t, value))
	case "condition":
		req.Condition = uint8(integer(s.t, value))
		req.Mark(25)
	case "partial":
		req.PartialOK = true
	case "mac":
		req.Mark(64)
	case "repeat": // MTI xxx1
		req.Repeat = true
	case "pin":
		copy(req.PIN[:], pinBlock)
		req.PINLen, req.Security = 8, 2600000000000000
	case "sent":
		d, err := time.ParseDuration(value)
		require.NoError(s.t, err)
		req.Transmission = stampOf(s.h.clock().Time().Add(d))
	case "blanks": // DE37 and 38 are there and say nothing
		copy(req.RRN[:], "000000000000")
		copy(req.AuthCode[:], "      ")
		req.Mark(38)
	case "of", "by38", "by61", "by37":
		s.name(req, td, key, value)
	case "target":
		req.Target = points.ProgramID(integer(s.t, value))
	case "debits", "credits": // amount/count
		parts := strings.Split(value, "/")
		side := points.DebitSide
		if key == "credits" {
			side = points.CreditSide
		}
		req.Totals.Add(side, points.Amount(integer(s.t, parts[0])), uint32(integer(s.t, parts[1])))
	case "undone_debits", "undone_credits":
		parts := strings.Split(value, "/")
		side := points.DebitSide
		if key == "undone_credits" {
			side = points.CreditSide
		}
		req.Undone.Add(side, points.Amount(integer(s.t, parts[0])), uint32(integer(s.t, parts[1])))
	case "net":
		req.Net = points.Amount(integer(s.t, value))
		req.Mark(97)
	case "date": // DE15
		req.Settlement = uint32(integer(s.t, value))
	case "items": // of the end of an upload
		req.Totals.DebitCount = uint32(integer(s.t, value))
	case "network":
		req.NetworkCode = uint16(integer(s.t, value))
	case "from": // of a black list
		copy(req.Product[:], value)
	case "kind":
		req.Kind = uint8(integer(s.t, value))
	default:
		td.Fatalf(s.t, "unknown argument %s", key)
	}
}

// name lets req name an earlier request as its original.
func (s *story) name(req *points.Request, td *datadriven.TestData, how, of string) {
	first, ok := s.sent[of]
	require.True(s.t, ok, "%s: %s", td.Pos, of)
	rrn := first.resp.Position.RRN()
	if td.HasArg("host") {
		req.PAN = first.req.PAN
		if how == "by38" {
			req.AuthCode = first.resp.AuthCode
			return
		}
		req.Original = s.named90(&first.req)
		return
	}
	req.PAN = first.req.PAN
	req.Original = points.Original{Present: true, Batch: first.req.Batch, STAN: first.req.STAN}
	copy(req.RRN[:], "            ")
	switch how {
	case "by61":
	case "by38":
		req.AuthCode = first.resp.AuthCode
		req.Original.STAN = 999_999
	case "by37":
		req.RRN = rrn
		req.Original.STAN = 999_999
	default:
		req.RRN, req.AuthCode = rrn, first.resp.AuthCode
	}
	if req.Function == points.Completion || req.Function == points.CompletionAdvice || req.Function == points.PreAuthVoid {
		req.RRN = [12]byte{} // pos names a pre-authorisation by DE38 and 61
	}
}

func integer(t testing.TB, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	require.NoError(t, err)
	return n
}
