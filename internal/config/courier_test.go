package config_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/config"
)

// Deliveries are read as the file lists them, with paths from its folder; what is missing,
// none, unknown or there twice is refused with its key, all at once.
func TestDeliveries(t *testing.T) {
	const one = "settlement:\n  delivery:\n    - member: 20000001\n      address: sftp.example:22\n      user: points\n      folder: in/points\n      key: keys/d\n      known_hosts: /etc/hosts\n"
	c, err := config.Load(write(t, one), nil, []string{"settlement.delivery.20000001.user=other"})
	require.NoError(t, err)
	d := c.Courier.Deliveries
	require.Len(t, d, 1)
	require.True(t, strings.HasPrefix(d[0].IdentityFile, "/") && strings.HasSuffix(d[0].IdentityFile, "/keys/d"), d[0].IdentityFile)
	d[0].IdentityFile = ""
	require.Equal(t, config.Delivery{Member: 20000001, Address: "sftp.example:22", User: "other", Folder: "in/points", KnownHosts: "/etc/hosts"}, d[0])
	require.Equal(t, "09:00", c.Courier.AckBy.String())

	_, err = config.Load(write(t, "settlement:\n  delivery:\n    - member: 20000001\n"), nil, nil)
	for _, key := range []string{"address", "user", "key", "known_hosts"} {
		require.ErrorContains(t, err, "settlement.delivery.20000001."+key)
	}
	for text, want := range map[string]string{
		one + strings.TrimPrefix(one, "settlement:\n  delivery:\n"): "a member that no other item has",
		strings.Replace(one, "20000001", "x", 1):                    "settlement.delivery.1.member",
		strings.Replace(one, "user: points", "user: a b", 1):        "without blanks",
		strings.Replace(one, "user:", "password:", 1):               "a known key",
		"settlement:\n  delivery: yes\n":                            "a list of members",
		"settlement:\n  fetch_address: 0.0.0.0:2022\n":              "settlement.fetch_host_key",
		"settlement:\n  ack_by: 9:00\n":                             "settlement.ack_by",
	} {
		_, err := config.Load(write(t, text), nil, nil)
		require.ErrorContains(t, err, want, text)
	}
	_, err = config.Load(write(t, "settlement:\n  fetch_address: 0.0.0.0:2022\n  fetch_keys: k\n  fetch_host_key: h\n  ack_by: none\n  delivery: []\n"), nil, nil)
	require.NoError(t, err)
}
