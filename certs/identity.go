package certs

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// Scheme of the URI by which a certificate says whose it is.
const identityScheme = "lianfen"

// Role is what a holder of a certificate is in the scheme.
type Role uint8

// Roles.
const (
	RoleSwitch   Role = iota + 1 // we
	RoleAcquirer                 // brings the traffic of all its terminals
	RoleTerminal                 // one terminal of an acquirer
	RoleIssuer                   // host of an issuer
	RoleOperator                 // a person
)

var roleNames = [...]string{RoleSwitch: "switch", RoleAcquirer: "acquirer", RoleTerminal: "terminal", RoleIssuer: "issuer", RoleOperator: "operator"}

// String is the word for the role.
func (r Role) String() string {
	if r == 0 || int(r) >= len(roleNames) {
		return "role " + strconv.Itoa(int(r))
	}
	return roleNames[r]
}

// mostName is the longest name of an operator or switch.
const mostName = 32

// Identity is who a certificate says its holder is. It is comparable.
type Identity struct {
	Role     Role
	Acquirer points.AcquirerID // of an acquirer or terminal
	Terminal points.TerminalID // of a terminal
	Issuer   points.IssuerID   // of an issuer
	Name     string            // of an operator or switch
}

// SwitchIdentity makes an identity, as the others do. It is not checked: what
// [ParseIdentity] would refuse is refused when a certificate is issued.
func SwitchIdentity(name string) Identity { return Identity{Role: RoleSwitch, Name: name} }

// AcquirerIdentity is that of an acquirer.
func AcquirerIdentity(id points.AcquirerID) Identity {
	return Identity{Role: RoleAcquirer, Acquirer: id}
}

// TerminalIdentity is that of one terminal of an acquirer.
func TerminalIdentity(acquirer points.AcquirerID, terminal points.TerminalID) Identity {
	return Identity{Role: RoleTerminal, Acquirer: acquirer, Terminal: terminal}
}

// IssuerIdentity is that of an issuer.
func IssuerIdentity(id points.IssuerID) Identity { return Identity{Role: RoleIssuer, Issuer: id} }

// OperatorIdentity is that of a person.
func OperatorIdentity(name string) Identity { return Identity{Role: RoleOperator, Name: name} }

// String is the URI:
//
//	lianfen://switch/NAME                      lianfen://issuer/NUMBER
//	lianfen://acquirer/NUMBER                  lianfen://operator/NAME
//	lianfen://acquirer/NUMBER/terminal/DE41
func (i Identity) String() string {
	switch i.Role {
	case RoleSwitch, RoleOperator:
		return identityScheme + "://" + i.Role.String() + "/" + url.PathEscape(i.Name)
	case RoleAcquirer:
		return identityScheme + "://acquirer/" + strconv.FormatUint(uint64(i.Acquirer), 10)
	case RoleTerminal:
		return identityScheme + "://acquirer/" + strconv.FormatUint(uint64(i.Acquirer), 10) + "/terminal/" + url.PathEscape(i.Terminal.String())
	case RoleIssuer:
		return identityScheme + "://issuer/" + strconv.FormatUint(uint64(i.Issuer), 10)
	}
	return i.Role.String()
}

// MarshalText renders the URI.
func (i Identity) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (i *Identity) UnmarshalText(text []byte) (err error) {
	*i, err = ParseIdentity(string(text))
	return err
}

// ParseIdentity reads the URI of an identity, in the one spelling that String has:
// two spellings of one identity could be told apart by one reader and not by another.
func ParseIdentity(text string) (Identity, error) {
	wrong := func(why string) (Identity, error) {
		return Identity{}, points.Errorf(points.FormatError, "certs: identity %q: %s, want lianfen://acquirer/NUMBER, lianfen://acquirer/NUMBER/terminal/ID, "+
			"lianfen://issuer/NUMBER, lianfen://operator/NAME or lianfen://switch/NAME", text, why)
	}
	rest, ok := strings.CutPrefix(text, identityScheme+"://")
	if !ok {
		return wrong("not of the scheme lianfen")
	}
	parts := strings.Split(rest, "/")
	for n := range parts {
		part, err := url.PathUnescape(parts[n])
		if err != nil || part == "" {
			return wrong("a part that is empty or cannot be read")
		}
		parts[n] = part
	}
	i, why := identityOfParts(parts)
	if why != "" {
		return wrong(why)
	}
	if i.String() != text {
		return wrong("not spelled as " + i.String())
	}
	return i, nil
}

// identityOfParts reads what stands between the slashes; why says what is wrong.
func identityOfParts(parts []string) (i Identity, why string) {
	switch {
	case len(parts) == 2 && (parts[0] == "switch" || parts[0] == "operator"):
		i.Role, i.Name = RoleSwitch, parts[1]
		if parts[0] == "operator" {
			i.Role = RoleOperator
		}
		if !isName(i.Name) {
			return i, fmt.Sprintf("a name is 1 to %d letters, digits, and - _ . @", mostName)
		}
		return i, ""
	case len(parts) == 2 && parts[0] == "issuer":
		number, ok := institution(parts[1])
		if !ok {
			return i, "an issuer is a number of 1 to 11 digits"
		}
		return IssuerIdentity(points.IssuerID(number)), ""
	case len(parts) == 2 && parts[0] == "acquirer", len(parts) == 4 && parts[0] == "acquirer" && parts[2] == "terminal":
		number, ok := institution(parts[1])
		if !ok {
			return i, "an acquirer is a number of 1 to 11 digits"
		}
		if len(parts) == 2 {
			return AcquirerIdentity(points.AcquirerID(number)), ""
		}
		terminal, err := points.ParseTerminalID(parts[3])
		if err != nil || terminal.String() == "" {
			return i, "a terminal is 1 to 8 printable characters"
		}
		return TerminalIdentity(points.AcquirerID(number), terminal), ""
	}
	return i, "not one of these forms"
}

// isName admits what is safe in a log line, a table and a file's name.
func isName(name string) bool {
	return name != "" && len(name) <= mostName && name[0] != '.' && name[0] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@") == "" &&
		!strings.ContainsFunc(name, func(c rune) bool { return c > '~' })
}

func institution(text string) (uint64, bool) {
	number, err := strconv.ParseUint(text, 10, 64)
	return number, err == nil && number >= 1 && number <= points.MaxInstitution
}

// identityOf is the one identity that a certificate names.
func identityOf(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 {
		return Identity{}, fmt.Errorf("%w: %d URIs in it, want one that is an identity", ErrNoIdentity, len(cert.URIs))
	}
	i, err := ParseIdentity(cert.URIs[0].String())
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrNoIdentity, err)
	}
	return i, nil
}
