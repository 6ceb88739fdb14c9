package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

// operators is the door of the switch whose operators change the register; nil where there
// are none, or where the switch does not serve.
func (a *authority) operators(ctx context.Context) (*app.Client, error) {
	if a.door.url != "" {
		return a.door.remote()
	}
	dir, err := a.folder()
	if err != nil {
		return nil, err
	}
	socket, err := os.ReadFile(app.GovernedBy(certs.RegisterPath(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nobody is to be asked.
	}
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	a.door.socket = strings.TrimSpace(string(socket))
	conn, err := new(net.Dialer).DialContext(ctx, "unix", a.door.socket)
	if err != nil {
		return nil, nil //nolint:nilnil,nilerr // it does not serve; its next start notes what is changed now.
	}
	if err := conn.Close(); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return a.door.client()
}

// refusedThere says of a refusal whose it is.
func refusedThere(err error) error {
	return notActed(err, "the changes of certificates are acts of operators at the switch")
}

// issueAsked has the switch issue a certificate, or propose it. The key is made here and
// stays here: in NAME.key.pending until its certificate is there.
func (a *authority) issueAsked(cmd *cobra.Command, client *app.Client, change app.CertificateChange, request, out string) error {
	var text, key []byte
	var err error
	if request != "" {
		if text, err = os.ReadFile(request); err != nil {
			return fmt.Errorf("--request: %w", err)
		}
	} else if text, key, err = certs.NewRequest(); err == nil {
		err = replaceFile(pendingKey(out), key, 0o600)
	}
	if err != nil {
		return err
	}
	change.Request = string(text)
	done, err := client.ChangeCertificates(cmd.Context(), change)
	if err != nil {
		if key != nil {
			err = errors.Join(err, os.Remove(pendingKey(out)))
		}
		return refusedThere(err)
	}
	if err := warn(cmd, done.Warning); err != nil {
		return err
	}
	if done.Enrolled != nil {
		return a.keep(cmd, done.Enrolled, key, out)
	}
	return a.print(cmd, done, func(io.Writer) error {
		if err := sayPending(cmd, done.Done, client); err != nil {
			return err
		}
		how := "--out " + out
		if request != "" {
			how += " --request " + request
		}
		return say(cmd, "Then fetch it: lianfen certs fetch RRN %s, with the RRN of the approval or of the proposal.", how)
	})
}

// pendingKey is where a key is whose certificate is not there yet.
func pendingKey(out string) string { return out + ".key.pending" }

// keep writes down a certificate that has come from the switch; key is nil where its
// holder has it elsewhere.
func (a *authority) keep(cmd *cobra.Command, enrolled *app.Enrolled, key []byte, out string) error {
	m := &made{Identity: enrolled.Identity, Serial: enrolled.Serial, Until: enrolled.Until}
	if err := m.files(out, key, []byte(enrolled.Chain), []byte(enrolled.Trust)); err != nil {
		return err
	}
	if key != nil {
		if err := os.Remove(pendingKey(out)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return a.show(cmd, m)
}

func (a *authority) fetch() *cobra.Command {
	var request, out string
	cmd := &cobra.Command{
		Use: "fetch RRN", Args: one("the RRN of the approval, or of the proposal"),
		Short: "Fetch a certificate that a second person has approved",
		Long: `Fetch a certificate that was proposed with lianfen certs issue and approved since, within an
hour of that. The RRN is that of the approval or of the proposal. Only who has proposed it may, once, and for
the key that was proposed: the one in NAME.key.pending, or that of --request.`,
		Example: `  lianfen certs fetch 000000001234 --out ./t1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.operators(cmd.Context())
			if err == nil && client == nil {
				err = errors.New("no switch with operators serves from this folder; where none does, lianfen certs issue needs no approval")
			}
			if err != nil {
				return err
			}
			var text, key []byte
			if request != "" {
				text, err = os.ReadFile(request)
			} else if text, err = certs.RequestOf(pendingKey(out)); err == nil {
				key, err = os.ReadFile(pendingKey(out))
			}
			if err != nil {
				return fmt.Errorf("fetch: %w", err)
			}
			done, err := client.FetchCertificate(cmd.Context(), app.CertificateFetch{RRN: fullRRN(args[0]), Request: string(text)})
			if err != nil {
				return refusedThere(err)
			}
			return a.keep(cmd, done.Enrolled, key, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "beginning of the files' names, as with issue")
	cmd.Flags().StringVar(&request, "request", "", "certificate signing request that was proposed, as PEM, where the key is elsewhere")
	a.door.doorFlags(cmd)
	requireFlags(cmd, "out")
	return cmd
}

// codeAsked has the switch make a one-time code, or propose it: then half of the code is shown
// now, and whoever approves it is shown the other.
func (a *authority) codeAsked(cmd *cobra.Command, client *app.Client, change app.CertificateChange) error {
	done, err := client.ChangeCertificates(cmd.Context(), change)
	if err != nil {
		return refusedThere(err)
	}
	if err := warn(cmd, done.Warning); err != nil {
		return err
	}
	return a.print(cmd, done, func(io.Writer) error {
		if done.Pending == "" {
			return say(cmd, "%s\nfor %v, once, until %s\nIn the journal under RRN %s.", string(done.Code), change.Identity, a.time(done.Until), done.RRN)
		}
		if err := say(cmd, "%s\nfirst half, for %v, once, for %v from the approval on; who approves has the second", string(done.Code), change.Identity, change.Valid); err != nil {
			return err
		}
		return sayPending(cmd, done.Done, client)
	})
}

// revokeAsked has the switch take back certificates.
func (a *authority) revokeAsked(cmd *cobra.Command, client *app.Client, change app.CertificateChange) error {
	done, err := client.ChangeCertificates(cmd.Context(), change)
	if err != nil {
		return refusedThere(err)
	}
	return a.print(cmd, done, func(io.Writer) error {
		if err := say(cmd, "Revoked %s.\nThe running switch knows; it closed %s.", strings.Join(done.Revoked, ", "), points.Counted(done.Closed, "connection", "connections")); err != nil {
			return err
		}
		if done.NotNoted != "" {
			return say(cmd, "The revocation is in force; not everything that follows was done: %s", done.NotNoted)
		}
		return say(cmd, "In the journal under RRN %s.", done.RRN)
	})
}
