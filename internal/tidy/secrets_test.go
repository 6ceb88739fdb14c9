package tidy_test

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/tidy"
)

// A field with a secret's name and a type that anybody prints is found; one that hides
// itself, or is on the list with a reason, is not.
func TestBareSecrets(t *testing.T) {
	files := fstest.MapFS{"a/a.go": source(`package a
type card struct {
	pin, spare [8]byte
	Key        []byte
	hidden     hidden[[]byte]
	Password   points.Secret
	pan        string
}`), "a/a_test.go": source("package a\ntype x struct{ pin []byte }\n")}
	found, err := tidy.BareSecrets(files, map[string]string{"a card.pan": "masked", "a card.gone": "was here once"})
	require.NoError(t, err)
	require.Equal(t, []string{
		"a/a.go:3: card.pin may be a secret, and a [8]byte is printed by accident; hide it (points.Secret, certs.hidden)",
		"a/a.go:4: card.Key may be a secret, and a []byte is printed by accident; hide it (points.Secret, certs.hidden)",
		"a card.gone:0: is on the list of fields that may be printed, and is not there",
	}, report(found))
}

// mayPrint are the fields of this module that look like secrets and may be as they are.
var mayPrint = map[string]string{
	"certs issuer.key":               "has a Format of its own",
	"certs Issued.KeyPEM":            "has a Format and a LogValue of its own",
	"certs Enrolment.Password":       "a hash, on its way to the journal; has a Format of its own",
	"certs Enrolment.Secret":         "sealed; has a Format of its own",
	"certs tokenKEK.aead":            "a handle: the key stays in the token",
	"certs pinWork.pan":              "zeroed by the function that has it, which passes it nowhere",
	"certs pinWork.pin":              "zeroed by the function that has it, which passes it nowhere",
	"certs GateOptions.Key":          "a file's name",
	"certs MAC.key":                  "the key's name and check value",
	"certs macKeys.block":            "behind hidden, in MAC.keys",
	"certs macKeys.right":            "behind hidden, in MAC.keys",
	"certs PINKey.key":               "the key's name and check value",
	"certs PINVerifier.key":          "the key's name and check value",
	"certs tokenURI.token":           "the label of a PKCS#11 token",
	"cmd/lianfen made.Key":           "a file's name",
	"cmd/lianfen keysAt.kek":         "says where the key is",
	"cmd/lianfen openers.passphrase": "a file's name",
	"cmd/lianfen credentials.key":    "a file's name",
	"internal/app PINChange.Key":     "a key's name",
	"internal/certify Step.PIN":      "the name of a PIN, not its digits",
	"internal/config Keys.KEK":       "says where the key is",
	"internal/config Problem.Key":    "a key of the configuration",
	"internal/config entry.key":      "a key of the configuration",
	"internal/config setting.key":    "a key of the configuration",
	"internal/config TLS.Key":        "a file's name",
	"internal/store Pair.Key":        "a key of the store",
	"ledger/book Operator.Password":  "a hash; the operator has a Format of its own and no JSON of it",
	"ledger/book Operator.Secret":    "sealed; the operator has a Format of its own and no JSON of it",
	"ledger/book Ceremony.Key":       "a key's name",
}

// No struct of this module holds a secret that is printed by accident.
func TestNoBareSecrets(t *testing.T) {
	found, err := tidy.BareSecrets(os.DirFS("../.."), mayPrint)
	require.NoError(t, err)
	require.Empty(t, report(found))
}
