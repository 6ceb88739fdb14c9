package app_test

import (
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
)

// A reload puts the hour of the cut-over in force, and names what it does not, from the
// doors to the name on files; what is set back is not named any more.
func TestReloadSaysWhatItDoesNot(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	changed := h.config
	changed.Settlement.CutOver = config.ClockTimes{22*60 + 30}
	changed.Listeners = slices.Clone(changed.Listeners)
	changed.Listeners[0].MaxFrame++
	changed.Courier.Fetch = config.Fetch{}
	changed.TimeZone = "Europe/Berlin"
	changed.Night.Model, changed.Night.Name = config.ModelGross, "Other"
	changed.Admin.Session += time.Minute
	changed.Log.Level = slog.LevelError
	done, err := r.Reload(t.Context(), changed)
	require.NoError(t, err)
	require.Equal(t, []string{"settlement.cutover"}, done.InForce)
	require.Equal(t, []string{
		"admin.session", "listeners." + changed.Listeners[0].Name + ".max_frame", "log.level", "settlement.model", "settlement.name", "time_zone",
	}, done.Restart, "the logger of this process has a level of its own")
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, status.NextCutOver)
	require.Equal(t, status.NextCutOver, done.NextCutOver)

	done, err = r.Reload(t.Context(), h.config)
	require.NoError(t, err)
	require.Equal(t, []string{"settlement.cutover"}, done.InForce)
	require.Empty(t, done.Restart)
	status, err = r.client.Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, status.NextCutOver)
	r.stop(t)
}

// An address that a start could not have is refused by a reload.
func TestReloadTriesAddresses(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	changed := h.config
	changed.HTTP.Address = other.Addr().String()
	_, err = r.Reload(t.Context(), changed)
	require.ErrorContains(t, err, "give http.address another address")
	require.ErrorContains(t, err, "reload refused, nothing was changed: ")
	require.NoError(t, other.Close())
	done, err := r.Reload(t.Context(), changed)
	require.NoError(t, err)
	require.Equal(t, []string{"http.address"}, done.Restart)
	r.stop(t)
}

// An address at which the switch listens itself is not tried; one on the same port of another
// host is, and two of one configuration that a start could not have together are refused.
func TestReloadComparesHostsToo(t *testing.T) {
	h := newHouse(t)
	h.config.HTTP.Address = freeAddress(t)
	_, port, err := net.SplitHostPort(h.config.HTTP.Address)
	require.NoError(t, err)
	other, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Skipf("this system has no 127.0.0.2: %v", err)
	}
	r := h.start(t)
	changed := h.config
	changed.HTTP.Address = other.Addr().String()
	_, err = r.Reload(t.Context(), changed)
	require.ErrorContains(t, err, "give http.address another address", "it is taken, though the port is one of ours")
	require.NoError(t, other.Close())
	for _, host := range []string{"127.0.0.2", "0.0.0.0", ""} {
		changed.HTTP.Address, changed.HTTP.AllowRemote = host+":"+port, true
		_, err = r.Reload(t.Context(), changed)
		require.NoError(t, err, host)
	}
	changed.Admin.Address = "127.0.0.1:" + port
	_, err = r.Reload(t.Context(), changed)
	require.ErrorContains(t, err, "http.address: :"+port+" is taken by admin.address, which is 127.0.0.1:"+port)
	r.stop(t)
}

// An unchanged directory that is loaded again writes no record, members and cards included;
// an entry that stands twice with two contents ends as its last one, however often it is loaded.
func TestLoadOfWhatIsThereWritesNothing(t *testing.T) {
	const town = `
issuers: [{id: 10000001, name: One}]
acquirers: [{id: 20000001, name: Two}]
programs: [{id: 901, issuer: 10000001, name: Points}]
merchants: [{id: M1, acquirer: 20000001, name: Shop, programs: [901]}]
terminals: [{id: T1, merchant: M1}]
routes: [{prefix: "622202", issuer: 10000001}]
members: [{id: 1001, ref: r1, programs: [901], cards: [{number: "6222020000000000017", expiry: 3012}]}]
`
	h := newHouse(t)
	r := h.start(t)
	position := func() points.Position {
		status, err := r.client.Status(t.Context())
		require.NoError(t, err)
		return status.Position
	}
	load := func(text string) app.Loaded {
		d, err := app.ReadDirectory(strings.NewReader(text))
		require.NoError(t, err)
		loaded, err := r.client.Load(t.Context(), d)
		require.NoError(t, err)
		return loaded
	}
	require.Equal(t, 9, load(town).Entries)
	before := position()
	loaded := load(town)
	require.Equal(t, []int{0, 9}, []int{loaded.Entries, loaded.Known})
	require.Equal(t, before, position())

	require.Equal(t, 1, load(strings.Replace(town, "expiry: 3012", "expiry: 3112", 1)).Entries)
	require.Equal(t, before+1, position())

	const twice = "issuers: [{id: 10000001, name: First}, {id: 10000001, name: Last}]\n"
	for range 2 {
		load(twice)
		d, err := r.client.Directory(t.Context())
		require.NoError(t, err)
		require.Equal(t, "Last", d.Issuers[0].Name)
	}
	r.stop(t)
}
