package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

func (a *admin) doorFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&a.session, "session", "", "file that keeps the sign-in; left out, one of your own for each socket")
	f.StringVar(&a.url, "url", "", "operators' door of a switch elsewhere (admin.address), such as https://switch.example:8585; with --tls-cert, --tls-ca and perhaps --tls-key")
	f.StringVar(&a.known.cert, "tls-cert", "", "an operator's certificate, as PEM")
	f.StringVar(&a.known.key, "tls-key", "", "file of its key (default: the certificate's file)")
	f.StringVar(&a.known.ca, "tls-ca", "", "root that the switch is checked against, as PEM")
}

// sessionFile is where the sign-in at a socket is kept: in the user's own folder.
func (a *admin) sessionFile(socket string) (string, error) {
	if a.session != "" {
		return a.session, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", nil //nolint:nilerr // a user without a folder keeps no sign-in; login says so.
	}
	path, err := filepath.Abs(socket)
	if err != nil {
		return "", fmt.Errorf("admin socket: %w", err)
	}
	return filepath.Join(dir, "lianfen", fmt.Sprintf("session-%x", sha256.Sum256([]byte(path)))[:24]), nil
}

// token is the kept sign-in; empty: there is none.
func (a *admin) token(socket string) (string, error) {
	path, err := a.sessionFile(socket)
	if err != nil || path == "" {
		return "", err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("session: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("session %s: mode %v lets others read it; run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("session: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// keep writes the sign-in down, for its owner only.
func (a *admin) keep(socket, token string) error {
	path, err := a.sessionFile(socket)
	if err != nil {
		return err
	}
	if path == "" {
		return usage("there is no folder to keep the sign-in in; name a file with --session")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("session: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	_, err = fmt.Fprintln(file, token)
	return errors.Join(err, file.Close())
}

// asks reads secrets: from a terminal without showing them, else line by line.
type asks struct {
	cmd   *cobra.Command
	lines *bufio.Reader
}

func (q *asks) secret(what string) (points.Secret, error) {
	if in, ok := q.cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		if _, err := fmt.Fprint(q.cmd.ErrOrStderr(), what+": "); err != nil {
			return "", err
		}
		text, err := term.ReadPassword(int(in.Fd()))
		_, endErr := fmt.Fprintln(q.cmd.ErrOrStderr())
		return points.Secret(text), errors.Join(err, endErr)
	}
	if q.lines == nil {
		q.lines = bufio.NewReader(q.cmd.InOrStdin())
	}
	line, err := q.lines.ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return "", fmt.Errorf("%s: it is read from the terminal, or as a line of the standard input", what)
	}
	return points.Secret(strings.TrimRight(line, "\r\n")), nil
}

func (a *admin) login() *cobra.Command {
	var s app.SignIn
	cmd := &cobra.Command{
		Use: "login", Short: "Sign in with password and one-time code", Args: none,
		Long: `Sign in with password and one-time code, which are asked for, or read as two lines of
the standard input. The sign-in is kept in a file of your own until it is over.`,
		Example: `  lianfen admin login --name li`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			socket, err := a.door()
			if err != nil {
				return err
			}
			q := &asks{cmd: cmd}
			if s.Password, err = q.secret("password"); err != nil {
				return err
			}
			if s.Code, err = q.secret("one-time code"); err != nil {
				return err
			}
			client := app.NewClient(socket)
			session, err := client.Login(cmd.Context(), s)
			if err != nil {
				return err
			}
			if err := a.keep(socket, string(session.Token)); err != nil {
				return err
			}
			return say(cmd, "You are %s (%s) until %s.", session.Name, session.Roles, localTime(session.Until, client.Zone()))
		},
	}
	cmd.Flags().StringVar(&s.Name, "name", "", "your name as an operator")
	requireFlags(cmd, "name")
	return cmd
}

func (a *admin) logout() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "End the sign-in", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			socket, err := a.door()
			if err != nil {
				return err
			}
			token, err := a.token(socket)
			if err != nil || token == "" {
				return errors.Join(err, say(cmd, "You were not signed in."))
			}
			_, err = app.NewClient(socket).In(token).Logout(cmd.Context())
			path, pathErr := a.sessionFile(socket)
			if err := errors.Join(err, pathErr, os.Remove(path)); err != nil {
				return err
			}
			return say(cmd, "You are signed out.")
		},
	}
}

func (a *admin) whoami() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Tell whom the switch takes you for, and your roles", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			w, err := client.Whoami(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, w, func() error {
				if w.Name == "" {
					return say(cmd, "The socket's owner; no operator is enrolled.")
				}
				return say(cmd, "%s (%s), by %s.", w.Name, w.Roles, w.By)
			})
		},
	}
}

func (a *admin) enrol() *cobra.Command {
	var j app.Joining
	cmd := &cobra.Command{
		Use: "enrol", Short: "Choose your password, with the code of an invitation", Args: none,
		Long: `Choose your password, with the code of an invitation. Code and password are asked for,
or read as two lines of the standard input. What is printed holds the secret of your
one-time codes: it goes into your authenticator, and is shown this once. A password has at
least 12 characters, at most 72 bytes, and not your name in it, if that has 4 letters or more.`,
		Example: `  lianfen admin enrol --name wang`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			client, err := a.client()
			if err != nil {
				return err
			}
			q := &asks{cmd: cmd}
			if j.Code, err = q.secret("code of the invitation"); err != nil {
				return err
			}
			if j.Password, err = q.secret("new password (at least 12 characters, without your name)"); err != nil {
				return err
			}
			joined, err := client.Join(cmd.Context(), j)
			if err != nil {
				return err
			}
			return a.print(cmd, joined, func() error {
				return errors.Join(say(cmd, "You are enrolled as %s. For your authenticator, shown this once:\n%s", joined.Name, string(joined.URI)), sayBegun(cmd, joined.Begun))
			})
		},
	}
	cmd.Flags().StringVar(&j.Name, "name", "", "your name as an operator")
	requireFlags(cmd, "name")
	return cmd
}

func (a *admin) operator() *cobra.Command {
	cmd := &cobra.Command{
		Use: "operator", Short: "Operators and their roles", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.operatorList(), a.operatorPut(), a.operatorDisable(), a.operatorInvite())
	return cmd
}

func (a *admin) operatorList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List operators", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			list, err := client.Operators(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() error {
				t := new(table)
				t.row("NAME", "ROLES", "STATUS", "PASSWORD", "INVITED UNTIL", "REFUSED", "LOCKED UNTIL", "SIGNED IN")
				for _, o := range list {
					t.row(o.Name, o.Roles, o.Status, o.Password, timeOr(o.Invited, client), o.Refused, timeOr(o.Locked, client), timeOr(o.LastSeen, client))
				}
				return t.write(cmd.OutOrStdout())
			})
		},
	}
}

// timeOr is a time for people; nothing where there is none.
func timeOr(text string, client *app.Client) string {
	if text == "" {
		return ""
	}
	return localTime(text, client.Zone())
}

func (a *admin) change(cmd *cobra.Command, c app.OperatorChange) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	changed, err := client.PutOperator(cmd.Context(), c)
	if err != nil {
		return err
	}
	return a.print(cmd, changed, func() error {
		if changed.Code != "" {
			whole := ""
			if changed.Pending != "" {
				whole = ", first half; who approves is given the second"
			}
			if err := say(cmd, "For %s alone, good once until %s, shown this once%s:\n%s", c.Name, localTime(changed.CodeUntil, client.Zone()), whole, string(changed.Code)); err != nil {
				return err
			}
		}
		if changed.Pending != "" {
			return sayPending(cmd, changed.Done, client)
		}
		return errors.Join(say(cmd, "Operator %s is in the journal under RRN %s.", c.Name, changed.RRN), sayBegun(cmd, changed.Begun))
	})
}

func (a *admin) operatorPut() *cobra.Command {
	var c app.OperatorChange
	cmd := &cobra.Command{
		Use: "put", Short: "Make an operator, or change one's roles", Args: none,
		Long: `Make an operator, or change one's roles. With --invite a code is printed by which the
person chooses a password (lianfen admin enrol); without, the person needs a certificate.
Where a second person has to approve, you are given half of the code and they the other:
each hands theirs to the person, who enters one behind the other.
The first operator has to be an admin; from then on nobody acts at the admin door who
has not signed in.`,
		Example: "  lianfen admin operator put --name li --roles admin,operator,approver --invite\n  lianfen admin operator put --name wang --roles operator,approver --invite",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.change(cmd, c) },
	}
	cmd.Flags().StringVar(&c.Name, "name", "", "a-z, 0-9 and -, a letter first, at most 32")
	cmd.Flags().TextVar(&c.Roles, "roles", book.Roles(0), "of viewer, operator, approver and admin, with commas between; left out, they stay")
	cmd.Flags().TextVar(&c.Status, "status", book.Status(0), "active or suspended; left out, it stays")
	cmd.Flags().BoolVar(&c.Invite, "invite", false, "print a code by which the person chooses a password; what was chosen before is over")
	requireFlags(cmd, "name")
	return cmd
}

func (a *admin) operatorDisable() *cobra.Command {
	return &cobra.Command{
		Use: "disable NAME", Short: "Suspend an operator; its sessions end", Args: one("the operator"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, app.OperatorChange{Name: args[0], Status: book.Suspended})
		},
	}
}

func (a *admin) operatorInvite() *cobra.Command {
	return &cobra.Command{
		Use: "invite NAME", Short: "Let an operator choose a new password and authenticator", Args: one("the operator"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, app.OperatorChange{Name: args[0], Invite: true})
		},
	}
}

func (a *admin) policy() *cobra.Command {
	var c app.PolicyChange
	two := ""
	cmd := &cobra.Command{
		Use: "policy", Short: "Show or say which acts need a second person", Args: none,
		Long: `Show which acts need a second person; with flags, say which. on is all of them: adjust, participants, operators,
policy, cutover, resolve, keys, risk, rates, settlement, disputes, certificates (and one-time
codes; to revoke waits for nobody), pin (to set one; to unlock one needs the role operator).
Where nobody ever says which, it is on as soon as there is a second person: an approver
beside an admin, both enrolled or with certificates. Switching it off then needs the second
person too; off before there is one stays off.`,
		Example: "  lianfen admin policy --two-persons on\n  lianfen admin policy --two-persons operators,policy,adjust --hours 8",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if two == "" {
				s, err := client.Status(cmd.Context())
				if err != nil {
					return err
				}
				if c.Hours == 0 {
					return a.print(cmd, s.Policy, func() error {
						return say(cmd, "A second person is needed for: %s, within %s.", s.Policy.TwoPersons, points.Counted(s.Policy.Hours, "hour", "hours"))
					})
				}
				two = s.Policy.TwoPersons.String() // The hours alone change.
			}
			switch two {
			case "on":
				c.TwoPersons = book.TwoPersons
			case "off":
				c.TwoPersons = 0
			default:
				if err := c.TwoPersons.UnmarshalText([]byte(two)); err != nil {
					return usage("--two-persons: %w", err)
				}
			}
			done, err := client.PutPolicy(cmd.Context(), c)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				return say(cmd, "A second person is needed for: %s.", c.TwoPersons)
			})
		},
	}
	cmd.Flags().StringVar(&two, "two-persons", "", "on, off, or acts with commas between")
	cmd.Flags().Var(decimal(&c.Hours, 0), "hours", "after which a proposal is over; left out, they stay")
	return cmd
}

func (a *admin) pending() *cobra.Command {
	return &cobra.Command{
		Use: "pending", Short: "List what waits for a second person", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			list, err := client.Pending(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() error { return sayWaiting(cmd, list, client) })
		},
	}
}

// proposals are one RRN or more.
func proposals(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage("name what waits by its RRN, one or more; lianfen admin pending lists them; see: %s --help", cmd.CommandPath())
	}
	return nil
}

func (a *admin) approve() *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "approve RRN...", Short: "Carry out what somebody else has proposed", Args: proposals,
		Long: `Carry out what somebody else has proposed, in the order given. It stops at the first
that is refused; those before are done.`,
		Example: `  lianfen admin approve 000000001234 --note "seen the receipt"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.decide(cmd, args, note, client.Approve, "Approved")
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}

func (a *admin) reject() *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "reject RRN...", Short: "End what was proposed, without effect: as an approver, or your own", Args: proposals,
		Example: `  lianfen admin reject 000000001234 --note "the receipt is of another member"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.decide(cmd, args, note, client.Reject, "Rejected")
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why")
	return cmd
}

func (a *admin) decide(cmd *cobra.Command, rrns []string, note string, call func(context.Context, app.Decision) (app.Done, error), did string) error {
	for _, rrn := range rrns {
		done, err := call(cmd.Context(), app.Decision{RRN: fullRRN(rrn), Note: note})
		if err != nil {
			return err
		}
		if err := a.print(cmd, done, func() error {
			if err := say(cmd, "%s %s under RRN %s.", did, fullRRN(rrn), done.RRN); err != nil {
				return err
			}
			if done.What != "" {
				if err := sayAct(cmd, done.What, done.RRN, 0); err != nil {
					return err
				}
			}
			if done.SecondHalf == "" {
				return nil
			}
			return say(cmd, "For who enrols alone, shown this once, second half of the code; who proposed has the first:\n%s", string(done.SecondHalf))
		}); err != nil {
			return err
		}
	}
	return nil
}

// sayPending tells that nothing was done yet, and who goes on.
func sayPending(cmd *cobra.Command, done app.Done, client *app.Client) error {
	return say(cmd, "Proposed under RRN %s; nothing is done yet. A second person has until %s: lianfen admin approve %s", done.RRN, localTime(done.Pending, client.Zone()), done.RRN)
}

// sayBegun tells that the policy of two persons is in force from now on, where it is.
func sayBegun(cmd *cobra.Command, b app.Begun) error {
	if b.TwoPersons == 0 {
		return nil
	}
	return say(cmd, "There are two of you now: a second person is needed for %s (lianfen admin policy).", b.TwoPersons)
}

// sayOperators tells in plain words who may do what.
func sayOperators(t *table, s app.Status) {
	if s.Operators == 0 {
		t.row("operators", "none: whoever may open the admin socket does everything, under the names that they give")
		return
	}
	t.row("operators", s.Operators)
	if s.Policy.TwoPersons == 0 {
		t.row("second person", "needed for nothing: each operator acts alone")
	} else {
		t.row("second person", fmt.Sprintf("needed for %s, within %s", s.Policy.TwoPersons, points.Counted(s.Policy.Hours, "hour", "hours")))
		t.row("waiting for one", s.Pending)
	}
	t.row("you are", fmt.Sprintf("%s (%s), by %s", s.AskedBy.Name, s.AskedBy.Roles, s.AskedBy.By))
}

// twoNames are the flags of a house without operators.
func twoNames(cmd *cobra.Command, operator, second *string) {
	cmd.Flags().StringVar(operator, "operator", "", "who asks; left out where operators sign in")
	cmd.Flags().StringVar(second, "second", "", "who approves; where operators sign in, by lianfen admin approve instead")
}
