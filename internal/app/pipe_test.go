//go:build unix

package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
)

// soon is what call returns, which waits for nobody.
func soon(t *testing.T, call func() error) error {
	t.Helper()
	told := make(chan error, 1)
	go func() { told <- call() }()
	select {
	case err := <-told:
		return err
	case <-time.After(30 * time.Second):
		require.Fail(t, "it waits for a pipe")
		return nil
	}
}

// notRegular are what can stand where a file was named, by what is said of it.
func notRegular(t *testing.T) map[string]string {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	return map[string]string{pipe: "is a pipe", filepath.Dir(pipe): "is a folder", "/dev/null": "is a pipe, a socket or a device"}
}

// A pipe that nobody writes to, a folder or a device in the place of any file that the
// configuration names is refused with its setting, by a reload, which leaves everything as it
// was, and by a start; neither waits for it, nor does the process's end.
func TestFilesThatAreNone(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	named := map[string]func(c *config.Config, path string){
		"card_key":                  func(c *config.Config, path string) { c.CardKey = path },
		"keys.file":                 func(c *config.Config, path string) { c.Keys.File = path },
		"keys.kek":                  func(c *config.Config, path string) { c.Keys.KEK = "file:" + path },
		"tls.certificate":           func(c *config.Config, path string) { c.TLS.Certificate = path },
		"tls.key":                   func(c *config.Config, path string) { c.TLS.Key = path },
		"tls.trust":                 func(c *config.Config, path string) { c.TLS.Trust = path },
		"settlement.key":            func(c *config.Config, path string) { c.Night.SignedBy = path },
		"settlement.holidays":       func(c *config.Config, path string) { c.Settlement.Holidays = path },
		"settlement.fetch_host_key": func(c *config.Config, path string) { c.Courier.Fetch.IdentityFile = path },
	}
	all := make(map[string]bool)
	for _, f := range h.config.Files() {
		all[f.Setting] = true
	}
	for key := range all {
		require.Contains(t, named, key)
	}
	for path, want := range notRegular(t) {
		for key, set := range named {
			changed := h.config
			set(&changed, path)
			err := soon(t, func() error { _, err := r.Reload(t.Context(), changed); return err })
			require.ErrorIs(t, err, certs.ErrNotRegular, key)
			require.ErrorContains(t, err, key+": "+path+" "+want)
		}
	}
	require.NoError(t, soon(t, func() error { r.stop(t); return nil }))
	was := h.config
	for path, want := range notRegular(t) {
		for key, set := range named {
			h.config = was
			set(&h.config, path)
			err := soon(t, func() error { _, err := h.open(t); return err })
			require.ErrorIs(t, err, certs.ErrNotRegular, key)
			require.ErrorContains(t, err, key+": "+path+" "+want)
		}
	}
}

// What is handed to a service as a credential is a link to a file, or to a folder of links,
// and is taken.
func TestFilesThatAreLinks(t *testing.T) {
	h := newHouse(t)
	dir := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Dir(h.config.CardKey), filepath.Join(dir, "..data")))
	require.NoError(t, os.Symlink(filepath.Join("..data", filepath.Base(h.config.CardKey)), filepath.Join(dir, "card")))
	h.config.CardKey = filepath.Join(dir, "card")
	r := h.start(t)
	_, err := r.Reload(t.Context(), h.config)
	require.NoError(t, err)
	r.stop(t)
}

// A pipe among the files of one member's delivery stops nothing else's; it is told.
func TestDeliveryFromAPipe(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	for path := range notRegular(t) {
		changed := h.config
		changed.Courier.Deliveries = []config.Delivery{{Member: 20000001, Address: "127.0.0.1:22", User: "points", Folder: "in", IdentityFile: path, KnownHosts: path}}
		var warnings []string
		err := soon(t, func() error {
			done, err := r.Reload(t.Context(), changed)
			warnings = done.Warnings
			return err
		})
		require.NoError(t, err)
		require.Contains(t, strings.Join(warnings, "\n"), "settlement.delivery.20000001.key: "+path)
	}
	r.stop(t)
}
