package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every path is of a file that is looked at before it is read, or of one of these folders:
// a setting that is added has to say which.
func TestFilesAreAllFiles(t *testing.T) {
	folders := []string{"data", "tls.authority", "settlement.fetch_keys", "admin.socket"}
	c := Default()
	c.Courier.Deliveries = []Delivery{{Member: 20000001, IdentityFile: "d/key", KnownHosts: "d/hosts"}}
	c.Links = []Link{{Name: "one", StandIn: StandIn{Refused: "refused"}}}
	c.TLS.Certificate, c.TLS.Key, c.TLS.Trust, c.Night.SignedBy, c.Settlement.Holidays, c.Courier.Fetch.IdentityFile = "crt", "key", "trust", "sign", "days", "host"
	keys := make(map[string]bool)
	for _, f := range c.Files() {
		keys[f.Setting] = true
		require.Equal(t, strings.HasPrefix(f.Setting, "settlement.delivery."), f.Member, f.Setting)
	}
	for _, s := range c.settings() {
		if s.isPath {
			require.NotEqual(t, slices.Contains(folders, s.key), keys[s.key], s.key)
		}
	}
	require.True(t, keys["keys.kek"])
	c.Keys.KEK = "env:KEK"
	require.False(t, slices.ContainsFunc(c.Files(), func(f NamedFile) bool { return f.Setting == "keys.kek" }))
}
