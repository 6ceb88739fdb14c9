package main

import (
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// clerk is an operator with a password and one-time codes.
type clerk struct {
	name, secret string
	step         time.Time // of the last code; each is good once
}

const clerkPassword = "a long way to the sea"

// joins lets a clerk be made by whom by is of, and enrol.
func (d *daemon) joins(t *testing.T, by *app.Client, name string) *clerk {
	t.Helper()
	changed, err := by.PutOperator(t.Context(), app.OperatorChange{Name: name, Roles: book.RoleAdmin | book.RoleOperator | book.RoleApprover, Invite: true})
	require.NoError(t, err)
	joined, err := d.client().Join(t.Context(), app.Joining{Name: name, Code: changed.Code, Password: clerkPassword})
	require.NoError(t, err)
	uri, err := url.Parse(string(joined.URI))
	require.NoError(t, err)
	return &clerk{name: name, secret: uri.Query().Get("secret"), step: time.Now().Add(-30 * time.Second)}
}

// signsIn uses up the next code.
func (c *clerk) signsIn(t *testing.T, d *daemon) *app.Client {
	t.Helper()
	c.step = c.step.Add(30 * time.Second)
	code, err := totp.GenerateCode(c.secret, c.step)
	require.NoError(t, err)
	session, err := d.client().Login(t.Context(), app.SignIn{Name: c.name, Password: clerkPassword, Code: points.Secret(code)})
	require.NoError(t, err)
	return d.client().In(string(session.Token))
}

// answers waits until the daemon's operators can sign in.
func (d *daemon) answers(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := d.client().Whoami(t.Context())
		return points.ReasonOf(err) == points.SignInRefused
	}, patience, 20*time.Millisecond)
}

// The card key is changed beside a house with operators: killed at any moment, the change
// leaves the old store as it was and no half of a new one in its place; carried out again
// it ends. Under the new key the operators sign in by the passwords and authenticators
// that they have, what was proposed before can be approved, and no token is as it was.
func TestRetokenWithOperators(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	require.NoError(t, prepare(dir))
	d := startDaemon(t, dir)
	d.ready(t)
	directory, err := app.ReadDirectory(strings.NewReader(killDirectory))
	require.NoError(t, err)
	_, err = d.client().Load(t.Context(), directory)
	require.NoError(t, err)
	li := d.joins(t, d.client(), "li")
	asLi := li.signsIn(t, d)
	for range 40 {
		_, err = asLi.Adjust(t.Context(), app.Adjustment{Holder: app.Holder{Card: "6222020000000000017"}, Program: 901, Amount: 5, Note: "case 17"})
		require.NoError(t, err)
	}
	wang := d.joins(t, asLi, "wang")
	pending, err := asLi.Adjust(t.Context(), app.Adjustment{Holder: app.Holder{Card: "6222020000000000017"}, Program: 901, Amount: 50, Note: "case 18"})
	require.NoError(t, err)
	require.NotEmpty(t, pending.Pending)
	d.terminate(t)

	data, fresh := filepath.Join(dir, "store.new"), filepath.Join(dir, "card.key.new")
	args := []string{"ledger", "retoken", "--from", filepath.Join(dir, "store"), "--data", data, "--card-key", filepath.Join(dir, "card.key"), "--new-card-key", fresh}
	interrupted, random := 0, rand.New(rand.NewPCG(1, 8))
	for range 8 {
		require.NoError(t, os.RemoveAll(data+".partial"))
		cmd := exec.Command("lianfen", args...)
		require.NoError(t, cmd.Start())
		<-time.After(time.Duration(random.IntN(250)) * time.Millisecond)
		_ = cmd.Process.Kill() // It may have ended.
		if cmd.Wait() == nil {
			require.NoError(t, os.RemoveAll(data))
			continue
		}
		if _, err := os.Stat(data + ".partial"); err == nil {
			interrupted++
			_, stderr, status := lianfen(t, args...)
			require.NotZero(t, status)
			require.Contains(t, stderr, "one was interrupted and has left it")
		}
		require.NoError(t, os.RemoveAll(data)) // Killed after its last step, it would be whole.
	}
	t.Logf("interrupted with half a store written: %d of 8", interrupted)
	require.NoError(t, os.RemoveAll(data+".partial"))
	stdout, stderr, status := lianfen(t, args...)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "Every record gave its outcome again")

	d = startDaemon(t, dir) // The old one serves as before.
	d.answers(t)
	d.terminate(t)
	d = startDaemon(t, dir, "data="+data, "card_key="+fresh)
	d.answers(t)
	asWang := wang.signsIn(t, d)
	done, err := asWang.Approve(t.Context(), app.Decision{RRN: pending.RRN})
	require.NoError(t, err)
	require.Equal(t, points.Amount(250), *done.Free)
	accounts, err := li.signsIn(t, d).Accounts(t.Context(), app.Holder{Card: "6222020000000000017"})
	require.NoError(t, err)
	require.Equal(t, points.Amount(250), accounts.Accounts[0].Free)
	_, err = asWang.Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	d.terminate(t)

	_, stderr, status = lianfen(t, "serve", "--config", filepath.Join(dir, "lianfen.yaml"), "--set", "data="+data)
	require.NotZero(t, status)
	require.Contains(t, stderr, "not the card key of this store")
}

// Once operators sign in, a terminal on the switch's own machine is lent its certificate
// by whoever has signed in there, and by nobody else.
func TestLendWhereOperatorsSignIn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(t.TempDir(), "cache"))
	require.NoError(t, prepare(dir))
	address := freeAddress(t)
	d := startDaemonOver(t, "mutual", dir, "listeners.pos.address="+address)
	d.ready(t)
	directory, err := app.ReadDirectory(strings.NewReader(killDirectory))
	require.NoError(t, err)
	_, err = d.client().Load(t.Context(), directory)
	require.NoError(t, err)
	li := d.joins(t, d.client(), "li")

	echo := []string{"pos", "echo", "--config", filepath.Join(dir, "lianfen.yaml"), "--addr", address, "--terminal", directory.Terminals[0].ID.String(), "--merchant", directory.Terminals[0].Merchant.String()}
	_, stderr, status := lianfen(t, echo...)
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "lianfen admin login")

	li.step = li.step.Add(30 * time.Second)
	code, err := totp.GenerateCode(li.secret, li.step)
	require.NoError(t, err)
	_, stderr, status = lianfenWith(t, clerkPassword+"\n"+code+"\n", "admin", "login", "--name", "li", "--socket", filepath.Join(dir, "admin.sock"))
	require.Zero(t, status, stderr)
	_, stderr, status = lianfen(t, echo...)
	require.Zero(t, status, stderr)
	d.terminate(t)
}
