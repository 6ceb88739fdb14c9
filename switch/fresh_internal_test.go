package pointswitch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// DE7 has no year: it is the instant of that name nearest to now.
func TestTransmitted(t *testing.T) {
	for name, c := range map[string]struct {
		de7       uint64
		now, want string // want: empty where there is no such instant
	}{
		"today":            {302013000, "2026-03-02T01:31:00Z", "2026-03-02T01:30:00Z"},
		"last year":        {1231235959, "2027-01-01T00:00:30Z", "2026-12-31T23:59:59Z"},
		"next year":        {101000010, "2026-12-31T23:59:50Z", "2027-01-01T00:00:10Z"},
		"a leap day":       {229120000, "2028-03-01T00:00:00Z", "2028-02-29T12:00:00Z"},
		"no leap day near": {229120000, "2026-03-01T00:00:00Z", ""},
		"half a year ago":  {902013000, "2026-03-02T01:30:00Z", "2025-09-02T01:30:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, c.now)
			require.NoError(t, err)
			got, ok := transmitted(c.de7, now)
			require.Equal(t, c.want != "", ok)
			if ok {
				require.Equal(t, c.want, got.Format(time.RFC3339))
			}
		})
	}
}
