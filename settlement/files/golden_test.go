package files

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/internal/tools"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; read the difference before you commit it")

const golden = "testdata/golden"

// TestGolden: the bytes that a partner gets for a day with an item of every kind are
// those that were read and agreed on.
func TestGolden(t *testing.T) {
	day := testDay(t)
	if *rewrite {
		require.NoError(t, os.RemoveAll(golden))
		require.NoError(t, os.MkdirAll(golden, 0o750))
		for name, text := range day {
			require.NoError(t, os.WriteFile(filepath.Join(golden, name), text.Bytes(), 0o600))
		}
	}
	entries, err := os.ReadDir(golden)
	require.NoError(t, err)
	require.Len(t, entries, len(day))
	for name, text := range day {
		want, err := os.ReadFile(filepath.Join(golden, name))
		require.NoError(t, err)
		require.Equal(t, string(want), text.String(), name)
	}
}

// TestGoldenRates: the bytes of a statement whose entries are of one programme at one rate.
func TestGoldenRates(t *testing.T) {
	const path = "testdata/rates.xml"
	text, err := AppendStatement(nil, testStatement(0))
	require.NoError(t, err)
	if *rewrite {
		require.NoError(t, os.WriteFile(path, text, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(text))
}

// tool finds a partner's program, or ends the test and says so.
func tool(t *testing.T, name, pack string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "%s is not installed (apt-get install %s): this is not tested here", name, pack)
	}
	return path
}

// laid puts the day into a folder.
func laid(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range testDay(t) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text.Bytes(), 0o600))
	}
	return dir
}

// broken changes one byte of a file: at the first place of before, its last byte.
func broken(t *testing.T, dir, name, before string) {
	t.Helper()
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(text, []byte(before))
	require.GreaterOrEqual(t, at, 0)
	text[at+len(before)-1] ^= 1
	require.NoError(t, os.WriteFile(path, text, 0o600))
}

func run1(t *testing.T, dir, input string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	if input != "" {
		text, err := os.ReadFile(filepath.Join(dir, input))
		require.NoError(t, err)
		cmd.Stdin = bytes.NewReader(text)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestSha256sum: coreutils accept SHA256SUMS, and notice one byte.
func TestSha256sum(t *testing.T) {
	sum := tool(t, "sha256sum", "coreutils")
	dir := laid(t)
	out, err := run1(t, dir, "", sum, "--strict", "-c", SumsName)
	require.NoError(t, err, out)
	require.Equal(t, 12, strings.Count(out, ": OK"))
	broken(t, dir, acquirerFile, "RDM")
	out, err = run1(t, dir, "", sum, "--strict", "-c", SumsName)
	require.Error(t, err)
	require.Contains(t, out, acquirerFile+": FAILED")
}

// TestSSHKeygen: OpenSSH accepts the signature for the purpose clearing, and notices one
// byte of SHA256SUMS.
func TestSSHKeygen(t *testing.T) {
	keygen := tool(t, "ssh-keygen", "openssh-client")
	dir := laid(t)
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(testSigner(t).PublicKey())))
	signers := filepath.Join(t.TempDir(), "allowed_signers")
	require.NoError(t, os.WriteFile(signers, []byte("lianfen "+key+"\n"), 0o600))
	verify := func(namespace string) (string, error) {
		return run1(t, dir, SumsName, keygen, "-Y", "verify", "-f", signers, "-I", "lianfen", "-n", namespace, "-s", SignatureName)
	}
	out, err := verify(Namespace)
	require.NoError(t, err, out)
	require.Contains(t, out, "Good")
	_, err = verify("git")
	require.Error(t, err)
	broken(t, dir, SumsName, "QZ_DET")
	_, err = verify(Namespace)
	require.Error(t, err)
}

// TestXmllint: statement and notification are valid by the schemas in testdata/xsd, and
// a byte in a code, an amount or a name of an element is noticed.
func TestXmllint(t *testing.T) {
	lint := tool(t, "xmllint", "libxml2-utils")
	for name, schema := range map[string]string{
		"QZ_STM_10000001_M_20260216_01_1of1.xml": "camt.053.001.08.xsd", "QZ_NTF_10000001_M_20260216_01_1of1.xml": "camt.054.001.08.xsd",
	} {
		schema, err := filepath.Abs(filepath.Join("testdata/xsd", schema))
		require.NoError(t, err)
		dir := laid(t)
		out, err := run1(t, dir, "", lint, "--nonet", "--noout", "--schema", schema, name)
		require.NoError(t, err, out)
		for _, before := range []string{"<CdtDbtInd", "<BkTxCd", "<NbOfTxs"} {
			dir := laid(t)
			broken(t, dir, name, before)
			out, err = run1(t, dir, "", lint, "--nonet", "--noout", "--schema", schema, name)
			require.Error(t, err, "%s: %s", before, out)
		}
	}
}

// TestXmllintAsDocumented: the lines that partners are given check a set with a notification and
// one without, and fail where a notification is not valid.
func TestXmllintAsDocumented(t *testing.T) {
	_ = tool(t, "xmllint", "libxml2-utils")
	_, block, found := strings.Cut(documentText, "```sh\n")
	require.True(t, found)
	commands, _, _ := strings.Cut(block, "```")
	require.Contains(t, commands, "camt.054")
	dir := laid(t)
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata/xsd")))
	lines := func() (string, error) { return run1(t, dir, "", "/bin/sh", "-e", "-c", commands) }
	out, err := lines()
	require.NoError(t, err, out)
	const ntf = "QZ_NTF_10000001_M_20260216_01_1of1.xml"
	require.Contains(t, out, ntf+" validates")
	broken(t, dir, ntf, "<BkTxCd")
	_, err = lines()
	require.Error(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, ntf)))
	out, err = lines()
	require.NoError(t, err, out)
	require.Contains(t, out, "QZ_STM_10000001_M_20260216_01_1of1.xml validates")
}

// TestXmllintLarge: a statement of 100,000 entries is valid too.
func TestXmllintLarge(t *testing.T) {
	lint := tool(t, "xmllint", "libxml2-utils")
	s := testStatement(0)
	s.Entries = nil
	for i := range 100_000 {
		s.Entries = append(s.Entries, Entry{
			Counterparty: tariff.Member(i + 1), Code: "RDM", Amount: points.Amount(i - 50_000), Items: uint64(i),
			Rate: &EntryRate{Program: "PTS901", Currency: "XPA", Scale: 2, Amount: points.Amount(i), Version: 1, Num: uint64(i + 1), Den: 999_999_999_999},
		})
	}
	text, err := AppendStatement(nil, s)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "large.xml"), text, 0o600))
	schema, err := filepath.Abs("testdata/xsd/camt.053.001.08.xsd")
	require.NoError(t, err)
	out, err := run1(t, dir, "", lint, "--nonet", "--noout", "--stream", "--schema", schema, "large.xml")
	require.NoError(t, err, out)
}

// TestHledger: hledger reads the journal, strictly, and notices one digit.
func TestHledger(t *testing.T) {
	hledger := tool(t, "hledger", "hledger")
	dir := laid(t)
	out, err := run1(t, dir, "", hledger, "-f", JournalName, "check", "--strict")
	require.NoError(t, err, out)
	out, err = run1(t, dir, "", hledger, "-f", JournalName, "balance", "assets:clearing", "--no-total")
	require.NoError(t, err, out)
	closing := testDayClosing(t)
	require.Contains(t, out, closing)
	broken(t, dir, JournalName, "assets:clearing  0.4321")
	out, err = run1(t, dir, "", hledger, "-f", JournalName, "check", "--strict")
	require.Error(t, err, out)
}

func testDayClosing(t *testing.T) string {
	t.Helper()
	return testDayNet(t).plus(-10_000).Decimal(4) + " QZP"
}

func testDayNet(t *testing.T) (net Sum) {
	t.Helper()
	for role, items := range map[Role][]item{RoleAcquirer: acquired(), RoleIssuer: issued(), RoleSwapTarget: granted()} {
		_, sum := detail(t, memory{}, role, items)
		net = net.Add(sum)
	}
	return net
}

// TestISORefused: what ISO 20022 cannot carry is refused with a sentence, and texts are
// escaped.
func TestISORefused(t *testing.T) {
	for says, change := range map[string]func(*Statement){
		"more than 18 digits":          func(s *Statement) { s.Opening = 1_000_000_000_000_000_000 },
		"want 1 to 140":                func(s *Statement) { s.Name = "" },
		"three letters":                func(s *Statement) { s.Unit = "POINTS" },
		"does not fit ISO 20022":       func(s *Statement) { s.Entries[0].Rate.Currency = "PTS901" },
		"rate 1/0 of":                  func(s *Statement) { s.Entries[0].Rate.Num, s.Entries[0].Rate.Den = 1, 0 },
		"AddtlNtryInf":                 func(s *Statement) { s.Entries[0].Info = strings.Repeat("x", 501) },
		"AcctSvcrRef \"xxxxxxxxxxxxxx": func(s *Statement) { s.Entries[0].Instruction = strings.Repeat("x", 36) },
	} {
		s := testStatement(0)
		change(s)
		_, err := AppendStatement(nil, s)
		require.ErrorContains(t, err, says)
		require.Equal(t, points.FormatError, points.ReasonOf(err))
	}
	for _, c := range []struct {
		num, den uint64
		want     string
	}{{7, 20, "0.3500000000"}, {1, 3, "0.3333333333"}, {2, 3, "0.6666666667"}, {999_999_999_99, 1, "99999999999"}, {12345678, 7, "1763668.2857"}} {
		got, ok := xchgRate(c.num, c.den)
		require.True(t, ok)
		require.Equal(t, c.want, got)
	}
	_, ok := xchgRate(1, 999_999_999_999) // 0.000000000001: nothing is left of it in ten decimals
	require.False(t, ok)
}

// TestPage: the statement has no script, loads nothing, and shows names as text.
func TestPage(t *testing.T) {
	page := testDay(t)[StatementName].String()
	require.NotContains(t, strings.ToLower(page), "<script")
	require.NotContains(t, page, "http://")
	require.NotContains(t, page, "https://")
	require.Contains(t, page, "&lt;script&gt;")
	require.Contains(t, page, "山海银行 &amp; Partners")
	require.Contains(t, page, fmt.Sprintf("<code>%s</code>", acquirerFile))
	require.Contains(t, page, "期末")
	require.Contains(t, page, "Closing")
}
