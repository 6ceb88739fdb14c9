package certify

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Profile says who is tested.
type Profile string

// Profiles.
const (
	ProfilePOS    Profile = "pos"    // a switch, by its terminals' side
	ProfileIssuer Profile = "issuer" // an issuer's host
)

// ParseProfile reads the name of a profile.
func ParseProfile(name string) (Profile, error) {
	switch p := Profile(name); p {
	case ProfilePOS, ProfileIssuer:
		return p, nil
	default:
		return "", fmt.Errorf("profile %q, want pos or issuer", name)
	}
}

// Parameters are a target's test data. Scripts call terminals, cards, programmes
// and amounts by the names that are given to them here.
type Parameters struct {
	Profile Profile `yaml:"profile"`
	// Dialect is pos, or pos-right for a target that has DE22 right aligned;
	// of profile issuer it is host.
	Dialect string `yaml:"dialect"`
	// HexBitmap is of dialect host: bitmap and binary fields in hexadecimal.
	HexBitmap bool                `yaml:"hex_bitmap"`
	Within    time.Duration       `yaml:"within"`    // for every answer that a script gives no time
	Acquirer  points.AcquirerID   `yaml:"acquirer"`  // DE32 of profile issuer
	Forwarder points.AcquirerID   `yaml:"forwarder"` // DE33 of profile issuer
	Terminals map[string]Terminal `yaml:"terminals"`
	Cards     map[string]string   `yaml:"cards"` // name -> number
	Programs  map[string]uint16   `yaml:"programs"`
	Amounts   map[string]int64    `yaml:"amounts"`
	PINs      map[string]string   `yaml:"pins"` // name -> digits, of test cards
}

// Terminal is a terminal and its merchant.
type Terminal struct {
	ID       string `yaml:"id"`
	Merchant string `yaml:"merchant"`
	Keys     string `yaml:"keys"` // the set of keys that it signs on for, 003 say, or dukpt: and its initial key; none: it has none
}

// defaultWithin is how long an answer may take where nothing else is said.
const defaultWithin = 10 * time.Second

// ReadParameters reads a target's test data; an unknown key is an error with its
// line, and so is a value that no message can carry.
func ReadParameters(r io.Reader) (*Parameters, error) {
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	p := new(Parameters)
	if err := decoder.Decode(p); err != nil {
		return nil, fmt.Errorf("parameters: %w", config.PlainYAML(err))
	}
	if p.Within == 0 {
		p.Within = defaultWithin
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	return p, nil
}

// check reports everything that is wrong at once.
func (p *Parameters) check() error {
	var errs []error
	if _, err := ParseProfile(string(p.Profile)); err != nil {
		errs = append(errs, err)
	}
	if p.Dialect == "" {
		p.Dialect = map[Profile]string{ProfilePOS: "pos", ProfileIssuer: "host"}[p.Profile]
	}
	if d, err := dialect.ByName(p.Dialect); err != nil {
		errs = append(errs, err)
	} else if (d.Name() == "host") != (p.Profile == ProfileIssuer) {
		errs = append(errs, fmt.Errorf("dialect %s is not for profile %s", p.Dialect, p.Profile))
	}
	if p.Within < 0 {
		errs = append(errs, fmt.Errorf("within: %v, want more than 0", p.Within))
	}
	for name, t := range p.Terminals {
		if _, err := points.ParseTerminalID(t.ID); err != nil {
			errs = append(errs, fmt.Errorf("terminals.%s: %w", name, err))
		}
		if _, err := points.ParseMerchantID(t.Merchant); err != nil {
			errs = append(errs, fmt.Errorf("terminals.%s: %w", name, err))
		}
		_, derived, err := initialKey(t.Keys)
		if err == nil && !derived && t.Keys != "" {
			_, err = certs.ParseKeySet(t.Keys)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("terminals.%s: keys: %w", name, err))
		}
	}
	for name, pin := range p.PINs {
		if len(pin) < certs.MinPINDigits || len(pin) > certs.MaxPINDigits || strings.Trim(pin, "0123456789") != "" {
			errs = append(errs, fmt.Errorf("pins.%s: want %d to %d digits", name, certs.MinPINDigits, certs.MaxPINDigits))
		}
	}
	for name, number := range p.Cards {
		if _, err := points.ParsePAN(number); err != nil {
			errs = append(errs, fmt.Errorf("cards.%s: %w", name, err))
		}
	}
	for name, program := range p.Programs {
		if !points.ProgramID(program).Valid() {
			errs = append(errs, fmt.Errorf("programs.%s: %d, want %d to %d", name, program, points.MinProgram, points.MaxProgram))
		}
	}
	for name, amount := range p.Amounts {
		if amount < 0 || amount > int64(points.MaxAmount) {
			errs = append(errs, fmt.Errorf("amounts.%s: %d, want 0 to %d", name, amount, points.MaxAmount))
		}
	}
	return errors.Join(errs...)
}

// has reports whether the parameters give a name of a kind.
func (p *Parameters) has(kind, name string) bool {
	var there bool
	switch kind {
	case "terminals":
		_, there = p.Terminals[name]
	case "cards":
		_, there = p.Cards[name]
	case "programs":
		_, there = p.Programs[name]
	case "amounts":
		_, there = p.Amounts[name]
	case "pins":
		_, there = p.PINs[name]
	}
	return there
}
