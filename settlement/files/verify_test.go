package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

const acquirerFile = "QZ_DET_10000001_A_20260216_01_1of1.txt"

func checkOf(t *testing.T) Check {
	return Check{Keys: []ssh.PublicKey{testSigner(t).PublicKey()}, Scale: 4}
}

// TestVerify: the whole set of a day with every kind of item is as it must be.
func TestVerify(t *testing.T) {
	m := testDay(t)
	r, err := Verify(m.folder(), nil, checkOf(t))
	require.NoError(t, err)
	require.Empty(t, r.Breaches)
	require.True(t, r.OK)
	require.Equal(t, "valid", r.Signature)
	require.Len(t, r.Files, 12)
	for _, c := range r.Files {
		require.True(t, c.Listed, c.Name)
	}
}

// TestVerifyEveryByte: no byte of a detail file can be another without being noticed,
// also where no SHA256SUMS is at hand.
func TestVerifyEveryByte(t *testing.T) {
	m := memory{}
	detail(t, m, RoleAcquirer, acquired())
	good := m[acquirerFile].Bytes()
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		m[acquirerFile] = bytes.NewBuffer(bad)
		r, err := Verify(m.folder(), []string{acquirerFile}, Check{Scale: 4})
		require.NoError(t, err)
		require.False(t, r.OK, "byte %d", at)
	}
	for end := 0; end < len(good); end += 13 {
		m[acquirerFile] = bytes.NewBuffer(good[:end])
		r, err := Verify(m.folder(), []string{acquirerFile}, Check{Scale: 4})
		require.NoError(t, err)
		require.False(t, r.OK, "cut at %d", end)
	}
}

// TestVerifyComputes: a figure that does not follow from the line's own fields is named,
// with its line, although every digest is right.
func TestVerifyComputes(t *testing.T) {
	m := memory{}
	detail(t, m, RoleAcquirer, acquired())
	good := m[acquirerFile].Bytes()
	const line = 391 + 2
	for _, c := range []struct {
		row, column int
		text        string
		field       string
	}{
		{1, 256, "C000000000004322", "std"},
		{1, 204, "C000000000012349", "std"}, // amt: a digit beside, the value is 4322
		{1, 230, "000000000008", "std"},     // num
		{1, 243, "000000000000", "den"},
		{1, 273, "C000000000013", "net"}, // ichg: the sign
		{1, 329, "C000000000004321", "net"},
		{3, 256, "C000000000004321", "std"}, // on us: no obligation
		{4, 256, "D000000000004319", "std"}, // a reversal: more than a unit beside
		{9, 42, "10000009", "acq"},
		{5, 4, "000000000006", "line"},
		{10, 256, "C000000000000001", "std"}, // half a unit goes to the even one
		{11, 329, "D000000000000778", "net"}, // an adjustment
	} {
		bad := bytes.Clone(good)
		copy(bad[108+2+(c.row-1)*line+c.column-1:], c.text)
		m[acquirerFile] = bytes.NewBuffer(resealed(bad))
		r, err := Verify(m.folder(), []string{acquirerFile}, Check{Scale: 4})
		require.NoError(t, err)
		require.NotEmpty(t, r.Breaches, c)
		require.Equal(t, c.field, r.Breaches[0].Field, "%v: %v", c, r.Breaches)
		require.Equal(t, uint64(c.row+1), r.Breaches[0].Line, c)
		require.Equal(t, acquirerFile, r.Breaches[0].File)
	}
}

// TestVerifyTolerance: the value of what undoes a part may be a unit beside what its own
// points are worth, and no other value may.
func TestVerifyTolerance(t *testing.T) {
	for kind, ok := range map[tariff.Kind]bool{tariff.KindRDM: false, tariff.KindEAR: false, tariff.KindRFD: true, tariff.KindRVS: true, tariff.KindCBK: true, tariff.KindREP: true} {
		for off := int64(-2); off <= 2; off++ {
			l := basic(1)
			l.Kind = kind
			l.Std += points.Amount(off)
			field, _, _ := disvalued(&l, RoleAcquirer)
			require.Equal(t, off == 0 || (ok && off >= -1 && off <= 1), field == "", "%v %d", kind, off)
		}
	}
}

// TestVerifyAll: every broken line is named, not only the first.
func TestVerifyAll(t *testing.T) {
	m := memory{}
	detail(t, m, RoleAcquirer, acquired())
	bad := bytes.Clone(m[acquirerFile].Bytes())
	for _, row := range []int{2, 5, 9} {
		copy(bad[110+(row-1)*393+328:], "C000000000099999")
	}
	copy(bad[110+6*393:], "XX")
	m[acquirerFile] = bytes.NewBuffer(resealed(bad))
	r, err := Verify(m.folder(), []string{acquirerFile}, Check{})
	require.NoError(t, err)
	named := make(map[uint64]string)
	for _, b := range r.Breaches {
		named[b.Line] += b.Field + " "
	}
	require.Contains(t, named[3], "net")
	require.Contains(t, named[6], "net")
	require.Equal(t, "rec ", named[8])
	require.Contains(t, named[10], "net")
	require.Contains(t, named[14], "scr") // the trailer
}

// TestVerifySet: a set that lacks a part, has a file too many, or does not come to the
// member's figure in NET, is refused.
func TestVerifySet(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m memory)
		says   string
	}{
		"a role is missing": {func(m memory) { delete(m, "QZ_DET_10000001_T_20260216_01_1of1.txt") }, "no such file"},
		"one file too many": {func(m memory) { m["extra.txt"] = bytes.NewBufferString("x") }, "does not list"},
		"no signature":      {func(m memory) { delete(m, SignatureName) }, "SHA256SUMS.sig"},
		"another's digests": {func(m memory) { m[SumsName].Bytes()[0] ^= 1 }, "signature"},
		"net": {func(m memory) {
			replace(m, "QZ_NET_10000001_M_20260216_01_1of1.csv", "MNET,QZP,10000001,*,*,16,3.1616", "MNET,QZP,10000001,*,*,16,3.1617")
		}, "receive - pay"},
	} {
		m := testDay(t)
		c.change(m)
		r, err := Verify(m.folder(), nil, checkOf(t))
		require.NoError(t, err, name)
		require.False(t, r.OK, name)
		require.Contains(t, fmt.Sprint(r.Breaches), c.says, name)
	}

	// Without SHA256SUMS the lines alone must not come to another figure than NET's.
	m := testDay(t)
	delete(m, SumsName)
	delete(m, SignatureName)
	delete(m, "QZ_DET_10000001_T_20260216_01_1of1.txt")
	r, err := Verify(m.folder(), nil, Check{Scale: 4})
	require.NoError(t, err)
	require.Len(t, r.Breaches, 1)
	require.Equal(t, "net of 10000001", r.Breaches[0].Field)
	for _, c := range r.Files {
		require.Equal(t, c.Name == "QZ_NET_10000001_M_20260216_01_1of1.csv", c.Broken == 1, c.Name)
	}
}

// proofOf is by what each file of a report was proved.
func proofOf(r *Report) map[string]Proof {
	proofs := make(map[string]Proof)
	for _, c := range r.Files {
		proofs[c.Name] = c.Proof
	}
	return proofs
}

// TestVerifyContent: whoever alters a figure in a file that people or programs book from, and
// makes the digests anew, is found out without the signature: the file does not follow from
// detail and NET any more. Of what was not computed the report does not say that it was.
func TestVerifyContent(t *testing.T) {
	const stm, ntf = "QZ_STM_10000001_M_20260216_01_1of1.xml", "QZ_NTF_10000001_M_20260216_01_1of1.xml"
	r, err := Verify(testDay(t).folder(), nil, Check{Scale: 4})
	require.NoError(t, err)
	require.Empty(t, r.Breaches)
	for name, proof := range proofOf(r) {
		want := ProofContent
		if strings.Contains(name, "_EXC_") {
			want = ProofDigest
		}
		require.Equal(t, want, proof, name)
	}
	for _, c := range []struct{ name, before, after string }{
		{stm, ">0.4321<", ">9.4321<"},
		{stm, "<CdtDbtInd>DBIT", "<CdtDbtInd>CRDT"},
		{stm, "<NbOfTxs>3<", "<NbOfTxs>4<"},
		{stm, "QZP-20260216-01-10000001", "QZP-20260216-01-10000009"},
		{ntf, ">0.0777<", ">0.7777<"},
		{ntf, "clearing id 107", "clearing id 106"},
		{JournalName, "assets:clearing  0.4321", "assets:clearing  9.4321"},
		{JournalName, "commodity 1000.0000 QZP", "commodity 1.000,0000 QZP"},
		{StatementName, ">0.4321<", ">9.4321<"},
		{StatementName, "</footer>", "<b>0.0000</b></footer>"},
		{StatementName, `<td class="n">16</td>`, `<td class="n">61</td>`},
	} {
		m := testDay(t)
		text := m[c.name].String()
		require.Contains(t, text, c.before, c.name)
		replace(m, c.name, c.before, c.after)
		m.sign(t)
		r, err := Verify(m.folder(), nil, Check{Scale: 4})
		require.NoError(t, err)
		require.NotEmpty(t, r.Breaches, "%v", c)
		require.Equal(t, c.name, r.Breaches[0].File, "%v", c)
		require.Equal(t, "content", r.Breaches[0].Field, "%v", c)
		require.Equal(t, uint64(strings.Count(text[:strings.Index(text, c.before)], "\n"))+1, r.Breaches[0].Line, "%v", c)
	}

	// A second file of positions, which could stand before a forged first one, is one too many;
	// and rows of another member than the name says are none of its.
	twice := testDay(t)
	twice["QZ_NET_99999999_M_20260216_01_1of1.csv"] = bytes.NewBuffer(twice["QZ_NET_10000001_M_20260216_01_1of1.csv"].Bytes())
	twice.sign(t)
	r, err = Verify(twice.folder(), nil, Check{Scale: 4})
	require.NoError(t, err)
	require.NotEmpty(t, r.Breaches)
	require.Equal(t, "a second NET file beside QZ_NET_10000001_M_20260216_01_1of1.csv", r.Breaches[0].Found)
	other := testDay(t)
	other["QZ_NET_99999999_M_20260216_01_1of1.csv"] = other["QZ_NET_10000001_M_20260216_01_1of1.csv"]
	delete(other, "QZ_NET_10000001_M_20260216_01_1of1.csv")
	other.sign(t)
	r, err = Verify(other.folder(), nil, Check{Scale: 4})
	require.NoError(t, err)
	require.NotEmpty(t, r.Breaches)
	require.Equal(t, []string{"member", "10000001"}, []string{r.Breaches[0].Field, r.Breaches[0].Found})

	// A notification that is left out is missed; a row of NET that its member's position does not have, too.
	m := testDay(t)
	delete(m, ntf)
	m.sign(t)
	r, err = Verify(m.folder(), nil, checkOf(t))
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(r.Breaches), "a notification of 4 adjustments")
	m = testDay(t)
	replace(m, "QZ_NET_10000001_M_20260216_01_1of1.csv", "10000002,RDM,2,0.0000,0.4321,0.4321", "10000002,RDM,2,0.0000,0.4322,0.4322")
	m.sign(t)
	r, err = Verify(m.folder(), nil, checkOf(t))
	require.NoError(t, err)
	require.Len(t, r.Breaches, 1)
	require.Equal(t, "pay and receive", r.Breaches[0].Field)
	require.Equal(t, ProofDigest, proofOf(r)[stm], "what it has to say is not known")

	// Of a file alone nothing tells what it has to say.
	r, err = Verify(testDay(t).folder(), []string{stm}, checkOf(t))
	require.NoError(t, err)
	require.Equal(t, ProofDigest, proofOf(r)[stm])
	m = testDay(t)
	delete(m, SumsName)
	r, err = Verify(m.folder(), []string{stm}, Check{Scale: 4})
	require.NoError(t, err)
	require.Equal(t, ProofNone, proofOf(r)[stm])
}

// TestVerifyDelivered: a set as it was delivered has flags beside its files, and the member's
// acknowledgements: they are known, and no reason not to book. What belongs to no file of the
// set is a stranger, and a flag of another digest is broken.
func TestVerifyDelivered(t *testing.T) {
	m := testDay(t)
	set := len(m)
	for name, text := range testDay(t) {
		m[name+FlagSuffix] = bytes.NewBuffer(AppendFlag(nil, name, sha256.Sum256(text.Bytes())))
	}
	m[SumsName+AckSuffix] = bytes.NewBufferString("16,-2.3074,00\n")
	m[SumsName+AckSuffix+RefusedSuffix] = bytes.NewBufferString("the digest is 00\n")
	r, err := Verify(m.folder(), nil, checkOf(t))
	require.NoError(t, err)
	require.Empty(t, r.Breaches)
	proofs := proofOf(r)
	require.Len(t, r.Files, set-2+set+2)
	require.Equal(t, ProofFlag, proofs[SumsName+FlagSuffix])
	require.Equal(t, ProofFlag, proofs[acquirerFile+FlagSuffix])
	require.Equal(t, ProofMember, proofs[SumsName+AckSuffix])
	require.Equal(t, ProofMember, proofs[SumsName+AckSuffix+RefusedSuffix])

	for name, text := range map[string]string{
		"notes.txt.ok": "x", "notes.txt.ack": "x", ".ok": "x", "SHA256SUMS.ok.ok": "x", "SHA256SUMS.refused": "x", acquirerFile + ".part": "x",
		acquirerFile + FlagSuffix: string(AppendFlag(nil, acquirerFile, [32]byte{})), SumsName + FlagSuffix: "",
	} {
		before, there := m[name]
		m[name] = bytes.NewBufferString(text)
		r, err := Verify(m.folder(), nil, checkOf(t))
		require.NoError(t, err)
		require.Len(t, r.Breaches, 1, name)
		require.Equal(t, name, r.Breaches[0].File)
		delete(m, name)
		if there {
			m[name] = before
		}
	}
}

func replace(m memory, name, before, after string) {
	m[name] = bytes.NewBufferString(strings.Replace(m[name].String(), before, after, 1))
}

// TestParts: more lines than a part holds go into the next; together they are complete,
// and a part that is missing is noticed.
func TestParts(t *testing.T) {
	m := memory{}
	w, err := newDetail(testHeader(RoleAcquirer), 12, 5, true, m.create)
	require.NoError(t, err)
	for i := range acquired() {
		require.NoError(t, w.Write(&acquired()[i].Line, ""))
	}
	outputs, err := w.Close()
	require.NoError(t, err)
	require.Len(t, outputs, 6)
	require.Equal(t, "QZ_DET_10000001_A_20260216_01_3of3.txt", outputs[4].Name)
	require.Equal(t, uint64(2), outputs[4].Lines)
	r, err := Verify(m.folder(), nil, Check{})
	require.NoError(t, err)
	require.Empty(t, r.Breaches)
	delete(m, outputs[2].Name)
	r, err = Verify(m.folder(), nil, Check{})
	require.NoError(t, err)
	require.Len(t, r.Breaches, 1)
	require.Equal(t, "2 files", r.Breaches[0].Found)
}

// TestPlanned: as many lines as were announced, neither more nor fewer.
func TestPlanned(t *testing.T) {
	m := memory{}
	w, err := NewDetail(testHeader(RoleAcquirer), 1, false, m.create)
	require.NoError(t, err)
	l := basic(1)
	require.NoError(t, w.Write(&l, ""))
	require.ErrorContains(t, w.Write(&l, ""), "more lines than the 1")
	w, err = NewDetail(testHeader(RoleAcquirer), 2, false, m.create)
	require.NoError(t, err)
	require.NoError(t, w.Write(&l, ""))
	_, err = w.Close()
	require.ErrorContains(t, err, "1 lines were written, 2 announced")
}

// TestWriteShared: files of lines that were written in two pieces are those of whole lines,
// part by part; what does not fit, or wants a twin, is left to whole lines.
func TestWriteShared(t *testing.T) {
	whole, pieces := memory{}, memory{}
	one, err := newDetail(testHeader(RoleAcquirer), 5, 2, false, whole.create)
	require.NoError(t, err)
	other, err := newDetail(testHeader(RoleAcquirer), 5, 2, false, pieces.create)
	require.NoError(t, err)
	write := func(w *DetailWriter, l Line) (bool, error) {
		var shared Shared
		require.True(t, shared.Fill(&l))
		mine := own(&l)
		return w.WriteShared(&shared, &mine)
	}
	for id := range uint64(5) {
		l := basic(id + 1)
		require.NoError(t, one.Write(&l, ""))
		wide := l
		wide.Std = 1e15
		for _, line := range []Line{wide, l} {
			done, err := write(other, line)
			require.NoError(t, err)
			require.Equal(t, line == l, done)
		}
	}
	_, err = write(other, basic(6))
	require.ErrorContains(t, err, "more lines than the 5")
	for _, w := range []*DetailWriter{one, other} {
		_, err := w.Close()
		require.NoError(t, err)
	}
	require.Len(t, whole, 3)
	require.Equal(t, whole, pieces)
	require.Equal(t, one.Net(), other.Net())

	twin, err := NewDetail(testHeader(RoleAcquirer), 1, true, memory{}.create)
	require.NoError(t, err)
	done, err := write(twin, basic(1))
	require.NoError(t, err)
	require.False(t, done)
	twin.Abandon()
}

// TestTwin: the CSV twin is RFC 4180, opens in spreadsheets without a formula or a lost
// digit, and says what the fixed width says.
func TestTwin(t *testing.T) {
	m := memory{}
	detail(t, m, RoleAcquirer, acquired())
	text := m["QZ_DET_10000001_A_20260216_01_1of1.csv"].String()
	require.True(t, strings.HasPrefix(text, "\ufeffrec,line,cid,"))
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff"))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 13)
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	first := rows[1]
	require.Equal(t, "\t00000000000000000101", first[column["cid"]])
	require.Equal(t, "\t104440154110001", first[column["mer"]])
	require.Equal(t, "10000001", first[column["acq"]])
	require.Equal(t, "123.45", first[column["amt"]])
	require.Equal(t, "0.4321", first[column["std"]])
	require.Equal(t, "-0.0013", first[column["ichg"]])
	require.Equal(t, "喜茶（南山店）", first[column["merchant_name"]])
	require.Equal(t, `'=cmd|' /C calc'!A0`, rows[2][column["merchant_name"]])
	require.Equal(t, `Café "Zur Post", Wien`, rows[3][column["merchant_name"]])
	require.Equal(t, "'-1+2", rows[6][column["merchant_name"]])
	require.Equal(t, "-123.45", rows[4][column["amt"]])
	for text, cell := range map[string]string{
		"=喜": `"'=喜"`, "@a,b": `"'@a,b"`, "+1": "'+1", "012": "\t012", "12345678901": "12345678901", "123456789012": "\t123456789012", "a\tb": `a\u0009b`, "": "",
	} {
		require.Equal(t, cell, string(appendText(nil, text)), text)
	}
}

// TestNet: the operator's copy balances and is read again; a total that is not zero is
// not written; what is changed is named with line, column and name.
func TestNet(t *testing.T) {
	var b bytes.Buffer
	w := NewNet(&b, 4)
	rows := testPositions(4321)
	theirs := &rows[2]
	theirs.Closing = theirs.Opening - 4321
	theirs.Headroom = theirs.Cap + theirs.Closing
	for i := range rows {
		require.NoError(t, w.Write(&rows[i]))
	}
	_, err := w.Close([32]byte{1}, [32]byte{2})
	require.NoError(t, err)
	again, total, broken, err := ReadNet(bytes.NewReader(b.Bytes()), 4)
	require.NoError(t, err)
	require.Empty(t, broken)
	require.Equal(t, rows, again)
	require.Equal(t, uint64(3), total.Rows)

	for before, after := range map[string]string{
		",BNET,": ",BNET,", "MNET": "NNET", "2026-02-24": "2026-02-30", ",16,20.0000": ",16,20.0001", "20.4321": "20.43210", ",0,0.0000": ",0,0", "#TOTAL,3": "#TOTAL,x", ",16,20": ",016,20", "2026-02-16,01": ",01", ",01,2026": ",1,2026", ",QZP,": ",\"QZP\",",
	} {
		if !strings.Contains(b.String(), before) {
			continue
		}
		_, _, broken, err = ReadNet(strings.NewReader(strings.Replace(b.String(), before, after, 1)), 4)
		require.NoError(t, err)
		require.NotEmpty(t, broken, before)
		require.NotZero(t, broken[0].Column)
		require.NotEqual(t, "sha256", broken[0].Field, before)
	}
	for at := range b.Len() {
		bad := bytes.Clone(b.Bytes())
		bad[at] ^= 1
		_, _, broken, err = ReadNet(bytes.NewReader(bad), 4)
		require.NoError(t, err)
		if !bytes.Contains(bad[at:], []byte(totalTag)) {
			continue // In the total's own digests: they are what others are held against.
		}
		require.NotEmpty(t, broken, "byte %d", at)
	}

	w = NewNet(io.Discard, 4)
	require.NoError(t, w.Write(&rows[1]))
	_, err = w.Close([32]byte{}, [32]byte{})
	require.ErrorContains(t, err, "want zero")
}

// TestSignature: only the operator's key, for this purpose and these bytes, passes.
func TestSignature(t *testing.T) {
	sums := []byte("digest  name\n")
	signature, err := Sign(sums, testSigner(t))
	require.NoError(t, err)
	ours := []ssh.PublicKey{testSigner(t).PublicKey()}
	require.NoError(t, CheckSignature(sums, signature, ours))
	require.Error(t, CheckSignature([]byte("digest  mane\n"), signature, ours))
	require.ErrorContains(t, CheckSignature(sums, signature, nil), "not the operator's")
	require.Error(t, CheckSignature(sums, []byte("no signature"), ours))

	key := string(ssh.MarshalAuthorizedKey(ours[0]))
	for _, text := range []string{key, "# comment\n\n" + key, "operator@lianfen " + key, `operator@lianfen namespaces="clearing" ` + key} {
		keys, err := ParseKeys([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, ours, keys)
	}
	_, err = ParseKeys([]byte("\n"))
	require.ErrorContains(t, err, "there is none")
	_, err = ParseKeys([]byte("ssh-ed25519 AAAA"))
	require.ErrorContains(t, err, "line 1")
}

// TestNoAllocation: a line costs no allocation.
func TestNoAllocation(t *testing.T) {
	w, err := NewDetail(testHeader(RoleAcquirer), 1<<30, true, func(string) (io.WriteCloser, error) { return kept{}, nil })
	require.NoError(t, err)
	w.detail.w, w.twin.w = discard{}, discard{}
	l := basic(1)
	require.Zero(t, testing.AllocsPerRun(2000, func() {
		if err := w.Write(&l, "plain name"); err != nil {
			panic(err)
		}
	}))
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

func BenchmarkDetail(b *testing.B) {
	for _, twin := range []bool{false, true} {
		b.Run(fmt.Sprintf("twin=%v", twin), func(b *testing.B) {
			w, err := NewDetail(testHeader(RoleAcquirer), 1<<32, twin, func(string) (io.WriteCloser, error) { return discard{}, nil })
			require.NoError(b, err)
			l := basic(123456789)
			b.ReportAllocs()
			b.SetBytes(393)
			for b.Loop() {
				l.ID++
				if err := w.Write(&l, "瑞幸咖啡"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// An item that two members receive, written whole in both files, and once for both.
func BenchmarkItem(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			w, err := NewDetail(testHeader(RoleAcquirer), 1<<32, false, func(string) (io.WriteCloser, error) { return discard{}, nil })
			require.NoError(b, err)
			l := basic(123456789)
			var s Shared
			mine := own(&l)
			for b.Loop() {
				l.ID++
				mine.ID = l.ID
				fits := shared && s.Fill(&l)
				for range 2 {
					done := false
					if fits {
						done, err = w.WriteShared(&s, &mine)
					}
					if !done && err == nil {
						err = w.Write(&l, "")
					}
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	m := memory{}
	w, err := NewDetail(testHeader(RoleAcquirer), 20_000, false, m.create)
	require.NoError(b, err)
	for i := range 20_000 {
		l := basic(uint64(i) + 1)
		require.NoError(b, w.Write(&l, ""))
	}
	_, err = w.Close()
	require.NoError(b, err)
	text := m[acquirerFile].Bytes()
	b.ReportAllocs()
	for b.Loop() {
		d, _, err := NewDetailReader(bytes.NewReader(text))
		require.NoError(b, err)
		var l Line
		for more := true; more; {
			if more, _, err = d.Next(&l); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20_000, "ns/line")
}

// What a swap's target took on is its points at the rate, in whole units, or a unit more where
// there is a part of one: a quote rounds up what it has to pay.
func TestWorthOfASwapsTarget(t *testing.T) {
	for _, line := range []struct {
		amount, std points.Amount
		num, den    uint64
		wrong       string
	}{
		{1_824, 7_600_000, 12_500, 3, ""}, {1_824, 7_600_001, 12_500, 3, "std"}, // whole
		{12_385, 526_362, 85, 2, ""}, {12_385, 526_363, 85, 2, ""}, {12_385, 526_364, 85, 2, "std"}, {12_385, 526_361, 85, 2, "std"},
	} {
		l := Line{Kind: tariff.KindSWP, Amount: line.amount, Std: line.std, Num: line.num, Den: line.den, Acquirer: 1, Issuer: 2}
		field, _, _ := disvalued(&l, RoleSwapTarget)
		require.Equal(t, line.wrong, field, "%+v", line)
	}
	l := Line{Kind: tariff.KindRDM, Amount: 12_385, Std: 526_364, Num: 85, Den: 2, Acquirer: 1, Issuer: 2}
	field, _, _ := disvalued(&l, RoleAcquirer)
	require.Equal(t, "std", field, "of no other kind")
}

// TestDecimalSpelling: an amount is read in the one spelling that it is written in.
func TestDecimalSpelling(t *testing.T) {
	for text, want := range map[string]points.Amount{"0.0000": 0, "-0.0001": -1, "12.3456": 123_456, "-922337203685477.5808": math.MinInt64, "922337203685477.5807": math.MaxInt64} {
		got, ok := parseDecimal(text, 4)
		require.True(t, ok, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "-", ".", "0", "1.00", "01.0000", "-0.0000", "1.0.000", "1,0000", "1.00000", "+1.0000", "922337203685477.5808", "9223372036854775807.0000"} {
		_, ok := parseDecimal(text, 4)
		require.False(t, ok, text)
	}
}

// TestExceptionsRead: what is written of exceptions is read again, whatever a spreadsheet
// would take it for; another file is refused.
func TestExceptionsRead(t *testing.T) {
	list := []Exception{
		{Source: "journal", ID: 990, Reason: "TOO_LATE", What: "the advice is of 2026-01-02, \"late\""},
		{Source: "journal", ID: 123456789012345, Reason: "RATE_UNKNOWN", What: "=1+1, 第四列"},
		{Source: "a.txt", Line: 17, Reason: "FORMAT", What: "not a digit", Raw: []byte("TX,\xff\x00\r\n")},
	}
	text := AppendExceptions(nil, list)
	read, err := ReadExceptions(text)
	require.NoError(t, err)
	require.Equal(t, list, read)
	none, err := ReadExceptions(AppendExceptions(nil, nil))
	require.NoError(t, err)
	require.Empty(t, none)
	for _, broken := range [][]byte{nil, text[3:], bytes.Replace(text, []byte("reason"), []byte("code"), 1), bytes.Replace(text, []byte(",17,"), []byte(",x,"), 1)} {
		_, err := ReadExceptions(broken)
		require.Error(t, err)
	}
}
