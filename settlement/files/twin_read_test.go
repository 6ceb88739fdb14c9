package files

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVerifyTwin: no byte of a twin can be another than what its detail file says, but for
// the merchant's name, and a twin with a row less or more is noticed.
func TestVerifyTwin(t *testing.T) {
	m := memory{}
	detail(t, m, RoleAcquirer, acquired())
	const twin = "QZ_DET_10000001_A_20260216_01_1of1.csv"
	good := m[twin].Bytes()
	verify := func(text []byte) *Report {
		m[twin] = bytes.NewBuffer(text)
		r, err := Verify(m.folder(), []string{twin}, Check{Scale: 4})
		require.NoError(t, err)
		return r
	}
	r := verify(good)
	require.True(t, r.OK, r.Breaches)
	require.Equal(t, uint64(len(acquired())), r.Files[0].Lines)
	rows := bytes.SplitAfter(good, []byte("\r\n"))
	names := 0
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if r := verify(bad); r.OK {
			require.Greater(t, at, len(rows[0]))
			names++
		}
	}
	require.Less(t, names, 400, "only what merchants are called can be another")
	require.Positive(t, names)
	for i := range rows[:len(rows)-1] {
		require.False(t, verify(bytes.Join(append(slices.Clone(rows[:i]), rows[i+1:]...), nil)).OK, "without row %d", i)
		require.False(t, verify(bytes.Join(append(append(slices.Clone(rows[:i+1]), rows[i]), rows[i+1:]...), nil)).OK, "row %d twice", i)
	}
	for end := 0; end < len(good); end += 7 {
		require.False(t, verify(good[:end]).OK, "cut at %d", end)
	}
	r = verify([]byte(strings.Replace(string(good), "0.4321", "0.4322", 1)))
	require.Len(t, r.Breaches, 1)
	require.Equal(t, []any{uint64(2), "std"}, []any{r.Breaches[0].Line, r.Breaches[0].Field}, fmt.Sprint(r.Breaches))
}

// TestTwinOfBrokenDetail: a twin that repeats a broken detail file is neither right nor wrong; the
// report says which file it was held against, and does not call it proved.
func TestTwinOfBrokenDetail(t *testing.T) {
	const twin, text = "QZ_DET_10000001_A_20260216_01_1of1.csv", "QZ_DET_10000001_A_20260216_01_1of1.txt"
	of := func(m memory, only ...string) Checked {
		r, err := Verify(m.folder(), only, Check{Scale: 4})
		require.NoError(t, err)
		at := slices.IndexFunc(r.Files, func(c Checked) bool { return c.Name == twin })
		return r.Files[at]
	}
	m := memory{}
	detail(t, m, RoleAcquirer, acquired())
	whole := of(m)
	require.Equal(t, []any{ProofContent, text, uint64(0)}, []any{whole.Proof, whole.Against, whole.Broken})
	replace(m, text, "C000000000004321 D000000000013", "C000000000004322 D000000000013")
	for _, only := range [][]string{nil, {twin}} {
		require.Equal(t, ProofUnknown, of(m, only...).Proof, "%v", only)
	}
	m = memory{}
	detail(t, m, RoleAcquirer, acquired())
	replace(m, text, "HD 001", "HD 002")
	require.Equal(t, ProofUnknown, of(m, twin).Proof)
}

// TestNetFollows: where a position closes and what room it leaves follow from the row; a
// member has one cover and one cap.
func TestNetFollows(t *testing.T) {
	for field, change := range map[string]func(*Position){
		"opening_position": nil,
		"closing_position": func(p *Position) { p.Closing++; p.Headroom++ },
		"cover":            func(p *Position) { p.Cover, p.Cap, p.Headroom = -1, 0, 0 },
		"cap":              func(p *Position) { p.Cap = p.Cover + 1; p.Headroom = p.Cap + p.Closing },
		"headroom":         func(p *Position) { p.Headroom++ },
	} {
		rows := testPositions(4321)
		var found []string
		tell := func(name, _, _ string) { found = append(found, name) }
		rows[1].follows(4, tell)
		require.Empty(t, found)
		if change == nil {
			continue
		}
		change(&rows[1])
		rows[1].follows(4, tell)
		require.Contains(t, found, field)
	}
	rows := testPositions(4321)
	require.Empty(t, covers(rows, 4))
	rows[1].Cap--
	broken := covers(rows, 4)
	require.Len(t, broken, 1)
	require.Equal(t, uint64(3), broken[0].Line)
	owed := testPositions(50_000)[1] // It is owed: its whole cap is left.
	owed.Headroom = owed.Cap
	owed.follows(4, func(name, found, expected string) { require.Fail(t, name, "%s %s", found, expected) })
}
