package app_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
)

// What lasts is cut off neither by the read nor by the write deadline of its door,
// and ends at once when the switch stops.
func TestLasting(t *testing.T) {
	stopping, stop := context.WithCancel(t.Context())
	defer stop()
	entered, release := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewUnstartedServer(app.Lasting(stopping, func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		select {
		case <-release:
			_, _ = io.WriteString(w, "whole")
		case <-r.Context().Done():
			_, _ = io.WriteString(w, context.Cause(r.Context()).Error())
		}
	}))
	const deadline = 50 * time.Millisecond
	server.Config.ReadTimeout, server.Config.WriteTimeout = deadline, deadline
	server.Start()
	defer server.Close()
	ask := func() <-chan string {
		answers := make(chan string, 1)
		go func() {
			response, err := http.Post(server.URL, "application/json", strings.NewReader("{}"))
			if err != nil {
				answers <- err.Error()
				return
			}
			body, err := io.ReadAll(response.Body)
			if err := response.Body.Close(); err != nil {
				body = []byte(err.Error())
			}
			if err != nil {
				body = []byte(err.Error())
			}
			answers <- string(body)
		}()
		return answers
	}
	answer := ask()
	<-entered
	<-time.After(4 * deadline) // A real deadline of the operating system's has to pass.
	close(release)
	require.Equal(t, "whole", <-answer)

	release = make(chan struct{})
	answer = ask()
	<-entered
	stop()
	require.Contains(t, <-answer, "the switch is stopping")
}

// A body is bounded by its purpose: a directory may be large, nothing else.
func TestAdminBodies(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.config.Admin.Socket)
	}}}
	post := func(path string, size int) (int, string) {
		response, err := client.Post("http://admin/v1/"+path, "application/json", io.MultiReader(bytes.NewReader(bytes.Repeat([]byte(" "), size-2)), strings.NewReader("{}")))
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode, string(body)
	}
	for _, path := range []string{"accounts", "find", "cutover", "export", "index/rebuild"} {
		status, body := post(path, app.MaxBody+1)
		require.Equal(t, http.StatusBadRequest, status, path)
		require.Contains(t, body, "too large", path)
	}
	status, body := post("index/rebuild", app.MaxBody)
	require.Equal(t, http.StatusOK, status, body)
	status, body = post("directory", app.MaxBody+1)
	require.Equal(t, http.StatusOK, status, body)
	status, body = post("directory", app.MaxDirectory+1)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, body, "too large")
	r.stop(t)
}
