package dialect

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// What an installed terminal reads of our parameters: tags of two digits with values of
// fixed length, walked pair by pair past what it does not know. It takes nothing from our
// programmes for a tag of its own.
func TestInstalledTerminalsReadParameters(t *testing.T) {
	yes, no := true, false
	p := Parameters{
		TimeOut: 60, Retries: 3, Phones: [3]string{"01012345678", "", "95516"}, ManagementPhone: "4008", ManualEntry: &yes, AutoSignOff: &no,
		Name: "积分咖啡 Cafe", Resends: 2, Programs: []points.ProgramID{901, 914, 912, 920},
	}
	widths := map[int]int{11: 2, 12: 2, 13: 1, 14: 14, 15: 14, 16: 14, 17: 14, 18: 1, 19: 2, 20: 1, 21: 1, 22: 40, 23: 1, 24: 1, 25: 1, 26: 4}
	got := map[int]string{}
	for text := p.Encode(); text != ""; {
		require.GreaterOrEqual(t, len(text), 2)
		tag, _ := strconv.Atoi(text[:2])
		text = text[2:]
		got[tag] = strings.TrimRight(text[:widths[tag]], " ")
		text = text[widths[tag]:]
	}
	delete(got, 0) // What is no tag.
	require.Equal(t, map[int]string{
		12: "60", 13: "3", 14: "01012345678", 16: "95516", 17: "4008", 20: "1", 21: "0", 22: "\xbb\xfd\xb7\xd6\xbf\xa7\xb7\xc8 Cafe", 23: "2",
	}, got)
	require.NotEqual(t, p.Check(), (&Parameters{}).Check())
}

// Parameters always fit in DE62, whatever the merchant is called and takes.
func TestParametersFit(t *testing.T) {
	yes := true
	p := Parameters{TimeOut: 99, Phones: [3]string{"12345678901234", "12345678901234", "12345678901234"}, ManagementPhone: "12345678901234", ManualEntry: &yes, AutoSignOff: &yes, Name: strings.Repeat("积", 100) + "😀"}
	for id := points.ProgramID(900); id <= 998; id++ {
		p.Programs = append(p.Programs, id)
	}
	text := p.Encode()
	require.LessOrEqual(t, len(text), 512)
	parts := explainParameters(text)
	require.Equal(t, "programmes", parts[len(parts)-1].Name)
	require.Len(t, strings.Fields(parts[len(parts)-1].Value), maxPrograms)
}

// However long a black list is, a terminal that asks on until it is told the end has each
// prefix once.
func TestBlackListPages(t *testing.T) {
	for _, n := range []int{0, 1, 29, 30, 31, 60, 61, 999, 1200} {
		var all, got []string
		for i := range n {
			all = append(all, fmt.Sprintf("62%04d", i))
		}
		for range 50 {
			var req points.Request
			copy(req.Product[:], fmt.Sprintf("%03d", len(got)))
			page := BlackListPage(all, &req)
			require.LessOrEqual(t, len(page), 512)
			rest := page[1:]
			for rest != "" {
				size, err := strconv.Atoi(rest[:2])
				require.NoError(t, err)
				got = append(got, rest[2:2+size])
				rest = rest[2+size:]
			}
			if page[0] != '2' {
				break
			}
		}
		require.Equal(t, all[:min(n, MaxBlackList)], got, "%d prefixes", n)
	}
}
