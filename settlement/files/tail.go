package files

import (
	"bytes"
	"fmt"
	"io"
)

// ReadTrailer reads the last record of a detail file of so many bytes, and nothing else:
// what a file of our own says of itself, without going through its lines. [DetailReader]
// proves it.
func ReadTrailer(r io.ReaderAt, size int64) (t Trailer, err error) {
	width := int64(trailers.width() + len(lineEnd))
	if size < width {
		return t, fmt.Errorf("trailer: %d bytes, a detail file has %d at least", size, width)
	}
	record := make([]byte, width)
	if _, err := r.ReadAt(record, size-width); err != nil {
		return t, fmt.Errorf("trailer: %w", err)
	}
	line, ended := bytes.CutSuffix(record, []byte(lineEnd))
	if !ended || !bytes.HasPrefix(line, []byte(trailers.tag)) {
		return t, fmt.Errorf("trailer: found %s at the end of the file", quoted(record))
	}
	if broken := trailers.parse(line, 1, &t); broken != nil {
		return t, fmt.Errorf("trailer: %w", broken[0])
	}
	return t, nil
}
