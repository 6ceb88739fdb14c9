package reconcile

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCSV reads a partner's file from memory.
func BenchmarkCSV(b *testing.B) {
	const n = 100_000
	var text bytes.Buffer
	text.WriteString("rrn,acquirer,transmitted,stan,kind,amount,asset,status,fee,business_date\n")
	for i := range n {
		fmt.Fprintf(&text, "%012d,20000123,20260302%06d,%d,RDM,%d,901,00,%d,2026-03-02\n", i+1, i%86_400, i+1, i%500_000+1, -i%5_000)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	var line Line
	for b.Loop() {
		c, err := NewCSV(bytes.NewReader(text.Bytes()), Acquirer, 20260302, nil)
		require.NoError(b, err)
		for range n {
			if ok, err := c.Next(&line); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
