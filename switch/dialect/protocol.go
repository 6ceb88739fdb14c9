package dialect

import (
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// Protocol writes docs/protocol.md: framing, fields, functions and answer codes of
// both dialects, and an example of every message family. frames holds the golden
// frames, testdata/frames of the module.
func Protocol(w io.Writer, frames fs.FS) error {
	var out strings.Builder
	out.WriteString(protocolFront)
	for _, d := range []*Dialect{Pos(), Host()} {
		d.writeFields(&out)
		d.writeFunctions(&out)
	}
	out.WriteString(protocolAnswers)
	writeReasons(&out)
	out.WriteString("\n## Examples\n\nEach is a request and the first of its answers, without the two length bytes.\n" +
		"Every message family, with all its cases and answers, is in `testdata/frames`.\n")
	for _, d := range []*Dialect{Pos(), Host()} {
		if err := d.writeExamples(&out, frames); err != nil {
			return fmt.Errorf("dialect: writing the examples of %s: %w", d.name, err)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

const protocolFront = `# Protocol

<!-- Generated from the field and function tables of switch/dialect. Do not edit; make docs writes it. -->

lianfen speaks two dialects of ISO 8583. Terminals speak ` + "`pos`" + `, the UnionPay POS
convention (银联POS规范); partners and issuers speak ` + "`host`" + `, ISO 8583:1987 in ASCII.

## Framing

| | pos | host |
| --- | --- | --- |
| length | 2 bytes, binary, high byte first, not counting itself | the same |
| largest frame | 4,096 bytes | 4,096 bytes |
| before the message type | TPDU 5 bytes (60, destination 2, source 2), header 6 bytes | nothing |
| message type | 4 digits BCD | 4 digits ASCII |
| bitmap | 8 bytes, or 16 | 8 bytes, or 16; raw, or as 16 (32) hexadecimal characters |
| binary fields | raw | raw or hexadecimal, as the bitmap is |

The answer swaps the addresses of the TPDU, repeats the header, and has the request's
bitmap form and width: a client that sends 128 bits where 64 would do gets 128. Of the header
any application class 60 or 61 is accepted. The low nibble of its third byte, in an answer, asks the
terminal for something: 1 to download its parameters (in answers to sign-on, echo and the like, when
they are no longer those that it has), 3 to sign on again (with codes 77 and A0).

A frame is closed on without an answer when it is longer than 4,096 bytes, its TPDU does not begin with
60, its application class is another, it ends before its bitmap does, or it is itself an
answer. Anything else that is wrong is answered 30 with what could be read; ` + "`host`" + ` names the
element in DE44 as ` + "`FIELD nnn`" + `. Fields behind a bad one of known extent are still read.

A message type with another version digit than 0 is answered 30. One that is well formed and
asks for nothing in the tables below is answered 12. A message type that ends in 1 is a repeat of
the one that ends in 0, and has the same answer type.

### Packed decimal

Two digits a byte. An odd number of digits is padded with one zero nibble: on the right in
fields of variable length and in DE22 (left aligned), on the left in all other fields of fixed
length (right aligned). A padding nibble that is not zero is a format error: it means that
the sender aligns the other way, and every digit would be read one place off. The length of a variable
field counts digits, not bytes, and is itself right aligned. A track's separator = is nibble D.

| field | value | on the wire |
| --- | --- | --- |
| DE2, 19 digits | 6222021234567890123 | 19 62 22 02 12 34 56 78 90 12 30 |
| DE11 | 000005 | 00 00 05 |
| DE22 | 021 | 02 10 (an endpoint configured as ` + "`pos-right`" + `: 00 21) |
| DE23 | 001 | 00 01 |
| DE60, 11 digits | 22000124000 | 00 11 22 00 01 24 00 00 |

### Hexadecimal or raw

The bitmap of a ` + "`host`" + ` frame is hexadecimal when the sixteen bytes behind the message type
are all hexadecimal characters. No raw bitmap looks so: its eighth byte would announce DE58, 59 or 60,
which are not in the dialect.
The length of DE125 counts characters: 016 raw, 032 hexadecimal.
`

const protocolAnswers = `
## Private fields

| field | layout |
| --- | --- |
| DE44, answer, pos | issuer 11, acquirer 11, padded with blanks |
| DE44, answer, host | a few words; ` + "`FIELD nnn`" + ` with code 30 |
| DE48, 0500, pos | debit amount 12, debit count 3, credit amount 12, credit count 3, result 1; the same again for foreign cards, zeros: 62 digits. Result, and DE66 of host: 1 equal, 2 unequal, 3 not compared. A batch that is unequal is answered 00. The answer repeats the sender's totals |
| DE74 to 77, 86 to 89, 97, 0500, host | what was done and what of it was reversed, as counts and amounts; net amount, D what the acquirer is to receive, C what it is to pay. DE75, 77, 87, 89 default to zero, DE97 is looked at where it is sent. DE15 is the date, MMDD; without it, the current one. DE78 to 85 are accepted and not looked at |
| DE48, 0320, pos | count 2, then up to 8 times: kind 2, STAN 6, card 20, amount 12. The end of an upload: number of items 4 |
| DE54, answer | up to 6 times: account type 2, amount type 2 (01 ledger, 02 available), programme 3, C or D, amount 12. The first is what the member can spend |
| DE59, request, pos | ours: a key serial number, 12 bytes, or a PIN block of format 4, 16 bytes, or the one and the other behind it, 28 |
| DE60, pos | kind 2, batch 6, network code 3, terminal capability 1, chip condition 1, part in points accepted 1, account type 3 (048 issuer points, 065 alliance points). Requests have 11 to 14 digits, or 17 and more; an answer has the first 11 |
| DE61, pos | original: batch 6, STAN 6, date 4 (MMDD, 0000 unknown), authorisation mode 2, institution 11. Terminals may stop after the STAN, or anywhere after the date |
| DE62, request | product code, 60 characters at most; of a swap the quote's DE62 as it came; of a pos transfer the target card; of a black-list download how many prefixes the terminal has, 3 digits |
| DE62, answer | points used 10, amount paid otherwise 12; of a sale that several programmes pay, in its unit, and for each of up to 4: programme 3, points taken 12, what they cover 12 |
| DE5, DE9, answer of a swap | points handed out, of DE50; for display how many of them for one of DE49: first digit decimals, then seven digits, rounded down |
| DE62, answer of a swap's quote | quote 16, its end YYMMDDhhmmss 12; the 0200 carries it as it came |
| DE62, answer, 0800/360 | parameters: tag 2, then a value of fixed length, blanks behind. 12 time-out in seconds 2, 13 retries 1, 14 to 16 phones 14, 17 management phone 14, 20 manual entry 1, 21 automatic sign-off 1, 22 merchant's name 40 (GBK), 23 resends 1. Last, ours: PG, then the programmes accepted in their order, each as P and a digit three times (P9P0P1 is 901) |
| DE62, answer, 0800/390 | 0 no prefixes, 1 these are all, 2 more follow, 3 these are the last; then up to 30 times: length 2, prefix |
| DE62, answer, 0800 and 0820/370, 372, 380, 382 | 0: there are no chip keys and parameters |
| DE63, request, pos | operator 3 (sign-on, batch close), card organisation 3 (refund) |
| DE63, answer, host | RRN and our twelve characters; DE37 is the acquirer's own |
| DE90, host | message type 4, STAN 6, transmission time 10, acquirer 11, forwarder 11 |
| DE95, host | of a reversal: the actual amount 12, which stands, the same again or zeros 12, fees 18, zeros. All zeros, or no DE95: nothing stands. DE4 is the original's in both cases |

Institutions are written in eight digits at least. DE49 and DE50 carry a programme's code, 900 to
998; 156, money, names none.

## A terminal's batch

Totals count by function: debits are redemptions, completions and off-line redemptions;
credits are voids, refunds and earns. What was reversed does not count. A voided sale does,
and its void stands on the credit side, also when the sale is reversed afterwards: nothing is
left to undo; should the void be reversed as well, both are taken off. Of a sale that is
reversed after refunds the refunds still count, since each was answered 00 and its sender
counts it: the totals are what the sender was told, and less by them than clearing, which has
what moved. Of such a sale at an issuer with a ledger of its own the reversal is refused
(22), and nothing differs. Transfers, swaps and pre-authorisations count nowhere.

    0500/201 totals ──> equal ─────────────────────────────────> sign on: next number
                    └─> unequal ──> 0320/201 items, 8 at a time ──> 0320/202 their number

The close ends the batch whether it is equal or not. Its number plus one is accepted at
once, and the next sign-on gives it. What asks for points under a closed number, or under an
earlier one, is answered 77 (sign on again); what tells what has happened (0220: completion,
off-line redemption and earning) is taken, and so is a reversal. A void of a sale of another
batch is answered 22. The close of the batch that was closed last may come again under
another trace number; an earlier one is answered 77, and one under batch 000000 30.

Items are all transactions that count. 0320/202 and 0320/207 end an upload; where fewer items
came than it says the answer is 79, and the terminal sends all of them again. Items that come
twice are one. An upload under a number that is not closed is answered 22.

A partner closes a business date (0500 with DE15). It may do so as often as it likes: what
ends a date is the cut-over.

## Answers

An answer gives back what the sender matches on: of pos DE3, 4, 11, 25, 32, 41, 42, 49, 50 and
60.1 to 60.3, of host DE3, 4, 7, 11, 12, 13, 25, 32, 33, 37, 41, 42, 49, 50, 70, 74 to 77, 86 to 90 and 97.
DE4 differs from the request's with code 10 only. Added are, where known: DE12 and 13 (pos: the clock),
15, 37 (pos: our RRN), 39, 44, 48 or 66, 63 (host: our RRN); DE100 where the request has it; DE38, 54 and 62 with
approvals only.

A request with DE64 (or DE128, in a message with a secondary bitmap) is answered with one, unless the
answer is A0. Where neither side has keys it is eight zero bytes.

## Keys, MAC and PIN of a terminal

What a terminal's record says under ` + "`" + `mac` + "`" + ` decides: none, ` + "`" + `cup-ecb` + "`" + ` (the UnionPay POS MAC, under DES) or
` + "`" + `cmac` + "`" + ` (AES-CMAC, its first eight bytes) or ` + "`" + `hmac-sha256` + "`" + ` (RFC 2104, likewise). 60.3 of the sign-on asks for a set of keys, and the answer's DE62 has
them under the terminal's master key:

| 60.3 | mac | DE62 |
| --- | --- | --- |
| 001 | cup-ecb | PIN key 8, its check value 4, MAC key 8, 4: 24 bytes |
| 003 | cup-ecb | PIN key 16, 4, MAC key 8, eight zero bytes, 4: 40 bytes |
| 004 | cup-ecb | as 003, track key 16, 4: 60 bytes |
| 006 | cmac | PIN, MAC and track key of AES-128, each a key block (ANSI X9.143, version D): 336 characters (ours) |
| 007 | cmac | the same of AES-256: 432 characters (ours) |
| 008 | hmac-sha256 | the same, its MAC key for HMAC of 32 bytes (M7, H, and HM 21): 448 characters (ours) |

Keys of DES are enciphered in ECB mode under the double-length master key; a check value is the first four bytes
of eight zeros enciphered. A sign-on gives other keys than those that were used; those that were given and not used are given again. The keys before
are over with the first message under the next, so that a sign-on, which anybody can send, takes nothing away. A set that
the terminal's ` + "`" + `mac` + "`" + ` is not made with is answered 40, and so is a sign-on without a master key here.

The MAC is over the message type to the field before the MAC, as sent. Authorisations, financial messages and
reversals (01xx, 02xx, 04xx) must carry one, unless the record says ` + "`" + `mac_optional` + "`" + `; others may. A wrong one, or
none where one must be, is answered A0 without a MAC, before the trace number is looked at. After so many
wrong ones in a row (` + "`" + `keys.mac_errors` + "`" + `) the terminal has no keys any more, and all is answered A0 until it signs on.

A terminal asks for its next master key with 0800, 60.1 99 and 60.3 003, which carries a MAC by its working keys. Where an
operator has left one on offer (` + "`" + `lianfen keys offer` + "`" + `), the answer's DE62 is a key block (ANSI X9.143, version B under 3DES, D under AES)
under the master key in force, the same however often it is asked for; 25: none is on offer; 40: the terminal has no master key. Nothing has
changed by that. The key is in force with the first sign-on that carries a MAC (DE64) by it, and the one before is over with that
sign-on. That MAC is AES-CMAC, under 3DES X9.19, under a key derived from the master key (ours): the CMACs under the master key, one behind the other until
there are as many bytes as it has, of a byte that counts from 1, 4C46, 00, the algorithm (0000 3DES, 0002 AES-128, 0004 AES-256) and its length in
bits (two bytes). A terminal keeps both keys until the answer has come, whose MAC is by the same key, and tries the new one first when in
doubt: an answer A0 says that it is not on offer any more. A sign-on without a MAC is answered under the key in force; one with a wrong MAC gets A0.

DE52 is a PIN block under the PIN key, of ISO 9564 format 0, or of format 3 where DE53 begins with 3 (ours).
The PIN of a redemption, pre-authorisation, transfer or enquiry is looked at behind the limits and before the
points: 99 it cannot be read under this key and for this card, 55 it is wrong, or one is needed, 75 it is locked.
Keys of AES make a block of ISO 9564 format 4, of sixteen bytes, which DE52 cannot hold: it comes in DE59 (ours), which
lies before the MAC as all that is authenticated does. A reversal brings no PIN.
A terminal whose record says ` + "`" + `dukpt` + "`" + ` needs no sign-on for keys: those of each message are derived (ANSI X9.24-3, AES) from
its initial key, by a key serial number of 12 bytes that comes in DE59 (ours). ISO 13492 has such numbers in DE53, which in this convention
holds 16 digits; DE59 lies before the MAC, which covers it. The first eight bytes are the initial key's, of which the first four
name the base key, the last four count. Request MAC, answer MAC and PIN block (format 4) are each under a key of their own
(usages 2000, 2001, 1000), as long as the base key. A number serves once and only forward: another message under one that was
used, or that lies before it, is answered A0 and does nothing; the repeat of a message that is known gets its answer again. A number of another terminal,
or one whose counter is zero or has more than 16 ones, is answered A0.
A sale needs one from the programme's ` + "`" + `pin_from` + "`" + ` on, and everything at a terminal whose record says ` + "`" + `pin` + "`" + ` required.

## Keys, MAC and PIN of a host

With whom keys are shared is configured: acquirers' hosts under ` + "`" + `switch.participant_keys` + "`" + `, issuers' under ` + "`" + `keys` + "`" + ` and
` + "`" + `zone` + "`" + ` of their link. The two sides have one zone master key; under it they send each other key blocks (ANSI X9.143,
version D under AES, B under 3DES) with a change of keys, 0800 with DE70 161:

| message | DE120 | DE48 |
| --- | --- | --- |
| 0800 | key blocks, one behind the other: a MAC key (M0, M1, M3 or M6), a PIN key (P0), or both | their check values, six hexadecimal digits each |
| its 0810, 00 | - | the check values of what was taken |
| 0800 that asks for keys | - | - |
| its 0810, 00 | key blocks | their check values |

Keys that came are in force with the answer. Keys that were sent are in force when the other side has answered with
their check values, or has used them. The keys before are believed for ` + "`" + `keys.overlap` + "`" + ` longer; no connection ends. A key
that was here before is answered 30, DE44 ` + "`" + `FIELD 120` + "`" + `, as is a block that was changed, is under another master key or is for
something else. Without a master key the answer is 40. While there are keys in force a change carries a MAC by them.

The MAC is AES-CMAC (` + "`" + `cmac` + "`" + `), HMAC-SHA-256 (` + "`" + `hmac-sha256` + "`" + `, under AES-256 as master key) or ANSI X9.19 (` + "`" + `x9.19` + "`" + `, under 3DES), its first eight bytes, over the message type to the
field before the MAC, as sent, in DE64 or, with a secondary bitmap, DE128. Every message but network messages must carry
one, advices, reversals, their repeats and reconciliations included; under ` + "`" + `pin` + "`" + ` it may. A wrong one, or none, is
answered A0 without a MAC. Every other answer to a request with a right one carries one by the same keys, refusals too,
but for 58. After ` + "`" + `keys.mac_errors` + "`" + ` wrong ones in a row all is answered A0 until keys are changed. An answer of an issuer
without a right MAC is none: the reversal is owed; after so many of them in a row the host is sent keys and asked nothing before.

A PIN comes under the PIN key: of AES in DE125 (format 4), of 3DES in DE52 (format 0, or 3 where DE53 begins with 3). It is
treated as a terminal's is. For an issuer's host it is enciphered anew under the key with that issuer.

## Answer codes

`

func (d *Dialect) writeFields(out *strings.Builder) {
	fmt.Fprintf(out, "\n## Fields of %s\n\n| DE | name | 名称 | format |\n| --- | --- | --- | --- |\n", d.name)
	for de := 2; de <= lastElement; de++ {
		if described := d.raw.Fields[de]; described != nil {
			names := elementAt(de)
			fmt.Fprintf(out, "| %d | %s | %s | %s |\n", de, names.en, names.zh, format(described.Spec()))
		}
	}
}

func (d *Dialect) writeFunctions(out *strings.Builder) {
	network, kind := "DE70", ""
	if d.packed {
		network, kind = "DE60.3", " DE60.1 |"
	}
	fmt.Fprintf(out, "\n## Functions of %s\n\n", d.name)
	fmt.Fprintf(out, "| function | MTI | DE3 | DE25 |%s %s | must carry | reversible |\n| --- | --- | --- | --- |%s --- | --- | --- |\n",
		kind, network, strings.ReplaceAll(kind, " DE60.1 ", " --- "))
	for i := range d.rules {
		u := &d.rules[i]
		fmt.Fprintf(out, "| %s | %04d | %s | %s |", u.function, u.mti, listed(u.processing, 6), listed(u.conditions, 2))
		if d.packed {
			cell := fmt.Sprintf("%02d", u.kind)
			if u.function == points.Reversal {
				cell = "as original"
			}
			fmt.Fprintf(out, " %s |", cell)
		}
		reversible := "no"
		if u.reversible {
			reversible = "yes"
		}
		fmt.Fprintf(out, " %s | %s | %s |\n", listed(u.networks, 3), u.needs(), reversible)
	}
	if d.packed {
		out.WriteString("\nA reversal has the DE3, 25 and 60.1 of its original.\n")
		return
	}
	out.WriteString("\nA reversal has the DE3 and 25 of its original; DE90 tells the original's message type. " +
		"Without DE90 a 0200 is looked for, then a 0100.\n")
	out.WriteString(legs)
}

// legs is about swaps of which one side is in another house's ledger.
const legs = `
### Legs of swaps

swap_credit and swap_debit are the side of a swap that another house carries out: it gives the
points of DE49 to the member, or takes them. Their identity (DE32, 33, 7, 11) is that of the swap for
ever: a request that was not answered is sent again as 0201 under the same. swap_enquiry names it in
DE90, under an identity of its own, and moves nothing:

| DE39 of swap_enquiry | the leg |
| --- | --- |
| 00 | stands |
| 22 | was cancelled or reversed, and is refused |
| 25 | is not known, which says nothing of a request that is still on its way; or was declined |

A reversal (0420, 0421) of one of the two is FENCE: cancel or reverse this id, and refuse it for ever. What
is not known is marked (DE44 ` + "`TOMBSTONE`" + `) and its request refused when it comes.

| DE39 of FENCE | the leg |
| --- | --- |
| 00 | is gone, and nothing under its identity will be carried out |
| 22 | stands, and cannot be reversed: it is spent, or something was built on it |
| another | nobody knows yet: FENCE is sent again, without end |

25 is no answer to FENCE, and 00 none where the request may have been carried out and forgotten: lianfen
answers 94 then. A house whose issuer cannot do this is connected with ` + "`swap_give_up: manual`" + `.
`

// needs renders what a message must carry.
func (u *rule) needs() string {
	parts := []string{}
	for _, de := range u.required {
		parts = append(parts, fmt.Sprint(de))
	}
	if u.card {
		parts = append(parts, "2, 35 or 36")
	}
	if u.original {
		parts = append(parts, "90 or (38 and card)")
	}
	if u.target == mustLack {
		parts = append(parts, "no 50")
	}
	return strings.Join(parts, ", ")
}

// listed renders the accepted values of a selector.
func listed(values []int, width int) string {
	if values == nil {
		return "-"
	}
	var parts []string
	for _, v := range values {
		if v == absent {
			parts = append(parts, "absent")
			continue
		}
		parts = append(parts, fmt.Sprintf("%0*d", width, v))
	}
	return strings.Join(parts, ", ")
}

// writeReasons writes the answer codes in order, each with the reasons it stands for.
func writeReasons(out *strings.Builder) {
	reasons := points.Reasons()
	slices.SortStableFunc(reasons, func(a, b points.Reason) int { return strings.Compare(a.DE39(), b.DE39()) })
	out.WriteString("| DE39 | reason | meaning | 含义 |\n| --- | --- | --- | --- |\n")
	for _, r := range reasons {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", r.DE39(), r, r.English(), r.Chinese())
	}
	out.WriteString("\nOf an issuer's answer, 11 and A4 to A6 are read as approvals too, and a code that is not in the table as a refusal.\n")
}

// goldenCase is one file of golden frames: what it is about, its first request and
// the first answer to it, nil where there is none.
type goldenCase struct {
	name, story     string
	request, answer []byte
}

// readCase reads a golden file: comments in front, then "decode" with a frame in
// hexadecimal up to "----", then "answer" with the answer's frame behind its "----".
func readCase(name, text string) (goldenCase, error) {
	c := goldenCase{name: name}
	var story []string
	var err error
	for block := range strings.SplitSeq(text, "\n\n") {
		for strings.HasPrefix(block, "#") {
			line, rest, _ := strings.Cut(block, "\n")
			if c.request == nil {
				story = append(story, strings.TrimSpace(strings.TrimPrefix(line, "#")))
			}
			block = rest
		}
		_, body, _ := strings.Cut(block, "\n")
		input, _, _ := strings.Cut(body, "----\n")
		switch {
		case strings.HasPrefix(block, "decode") && c.request == nil:
			c.request, err = hex.DecodeString(strings.Join(strings.Fields(input), ""))
		case strings.HasPrefix(block, "answer") && c.answer == nil:
			c.answer, err = hex.DecodeString(frameDigits(block))
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
	}
	c.story = strings.Join(story, " ")
	if c.request == nil {
		return c, fmt.Errorf("%s: no decode command", name)
	}
	return c, nil
}

// frameDigits returns the hexadecimal lines that the output of a command begins with.
func frameDigits(block string) string {
	_, output, _ := strings.Cut(block, "----\n")
	var digits strings.Builder
	for line := range strings.Lines(output) {
		if strings.Contains(line, " ") {
			break
		}
		digits.WriteString(strings.TrimSpace(line))
	}
	return digits.String()
}

// examples are the golden files that the document shows; the others are read beside it.
func (d *Dialect) examples() []string {
	if d.packed {
		return []string{"sign_on", "echo", "balance", "redeem_alliance", "void", "reversal", "batch_close", "broken"}
	}
	return []string{"echo", "redeem", "void", "reversal", "batch_close", "broken"}
}

func (d *Dialect) writeExamples(out *strings.Builder, frames fs.FS) error {
	for _, name := range d.examples() {
		name = path.Join(d.name, name)
		text, err := fs.ReadFile(frames, name+".txt")
		if err != nil {
			return err
		}
		c, err := readCase(name, string(text))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n### %s\n\n%s\n", name, c.story)
		d.writeExample(out, c.request)
		if c.answer != nil {
			d.writeExample(out, c.answer)
		}
	}
	return nil
}

// writeExample writes a frame and its explanation; of a broken frame too, which is
// what some of the examples are.
func (d *Dialect) writeExample(out *strings.Builder, frame []byte) {
	out.WriteString("\n```\n")
	for chunk := range slices.Chunk(frame, 40) {
		fmt.Fprintf(out, "%X\n", chunk)
	}
	out.WriteByte('\n')
	explained, _ := d.Explain(frame) // what is wrong is in the explanation
	for i := range explained.Fields {
		explained.Fields[i].Format, explained.Fields[i].Wire = "", "" // they stand above
	}
	fmt.Fprintf(out, "%s```\n", explained)
}
