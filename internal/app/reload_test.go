package app_test

import (
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/config"
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
	require.NoError(t, other.Close())
	done, err := r.Reload(t.Context(), changed)
	require.NoError(t, err)
	require.Equal(t, []string{"http.address"}, done.Restart)
	r.stop(t)
}
