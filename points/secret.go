package points

import (
	"fmt"
	"io"
	"log/slog"
)

// hiddenText is printed in the place of a secret.
const hiddenText = "***"

// Secret is a password, a one-time code or a token on its way between two processes. No
// way of printing it shows it; its JSON does, since that is how it is sent.
type Secret string

// String hides the secret.
func (s Secret) String() string { return hiddenText }

// Format hides the secret, whatever the verb.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, hiddenText) }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hiddenText) }

// PINBlock is an enciphered PIN as it came, which nothing prints.
type PINBlock [16]byte

// String hides the block.
func (b PINBlock) String() string { return hiddenText }

// Format hides the block, whatever the verb.
func (b PINBlock) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, hiddenText) }

// MarshalText hides the block.
func (b PINBlock) MarshalText() ([]byte, error) { return []byte(hiddenText), nil }
