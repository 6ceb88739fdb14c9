package certs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// MaxFile bounds the files of keys and certificates that [ReadRegular] reads: the roots of
// all authorities of the world have less than one megabyte.
const MaxFile = 16 << 20

// ErrNotRegular says that what a name leads to is not a file that can be read to its end.
var ErrNotRegular = errors.New("no regular file")

// Regular sees that path leads to a regular file of at most most bytes; symbolic links are
// followed, since credentials that are handed to a service are such. Of a pipe that nobody
// writes to the first read would never end, and with it a reload and the process's end.
func Regular(path string, most int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err // It names the path.
	}
	return regular(path, info, most)
}

func regular(path string, info fs.FileInfo, most int64) error {
	switch mode := info.Mode(); {
	case mode.IsRegular() && info.Size() > most:
		return fmt.Errorf("%s has %d bytes, more than the %d that are read of such a file", path, info.Size(), most)
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return fmt.Errorf("%s is a folder, %w; name the file in it", path, ErrNotRegular)
	default:
		return fmt.Errorf("%s is a pipe, a socket or a device, %w; write what it is to hold into a file, and name that", path, ErrNotRegular)
	}
}

// OpenRegular opens a file for reading that [Regular] has nothing against.
func OpenRegular(path string, most int64) (*os.File, error) {
	// Before it is opened: opening a pipe waits, too.
	if err := Regular(path, most); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat() // Of what is read, whatever the name leads to by then.
	if err == nil {
		err = regular(path, info, most)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// ReadRegular reads a file that [Regular] has nothing against.
func ReadRegular(path string, most int64) ([]byte, error) {
	file, err := OpenRegular(path, most)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return text, nil
}
