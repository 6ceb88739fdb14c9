package dialect

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// protocolPath is the generated document.
const protocolPath = "../../docs/protocol.md"

var update = flag.Bool("update", false, "write docs/protocol.md anew")

// docs/protocol.md says what the tables say: written anew it is the same.
func TestProtocolDocument(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Protocol(&out, os.DirFS(framesDir)))
	if *update {
		require.NoError(t, os.WriteFile(protocolPath, out.Bytes(), 0o600))
	}
	written, err := os.ReadFile(protocolPath)
	require.NoError(t, err)
	require.Equal(t, string(written), out.String(), "run go test ./switch/dialect -run TestProtocolDocument -update")
}
