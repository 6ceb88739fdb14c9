package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/switch/dialect"
)

func newDecode() *cobra.Command {
	var name string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "decode HEX|FILE|-",
		Short: "Explain a frame field by field; card numbers, tracks and PINs are masked",
		Example: `  lianfen decode 600003000060310031123408200000000000C0001054303030303030314D30303030303030303030303030310011000001243010
  lianfen decode frame.bin
  xxd -p frame.bin | lianfen decode -`,
		Args: one("hexadecimal digits, a file of them or of bytes, or - for standard input"),
		RunE: func(cmd *cobra.Command, args []string) error {
			frame, err := frameOf(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			d := dialect.Guess(frame)
			if name != "" {
				if d, err = dialect.ByName(name); err != nil {
					return usage("%w", err)
				}
			}
			if d == nil {
				return usage("this looks like neither dialect; name one with --dialect")
			}
			explained, fault := d.Explain(frame)
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), explained)
			} else {
				_, err = fmt.Fprint(cmd.OutOrStdout(), explained.String())
			}
			if fault != nil {
				return errors.Join(&statusError{exitFault, fault}, err)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&name, "dialect", "", "pos, pos-right or host; guessed when left out")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// frameOf reads a frame: the argument itself in hexadecimal, or a file or
// standard input with hexadecimal digits or raw bytes.
func frameOf(in io.Reader, arg string) ([]byte, error) {
	if frame, ok := fromHex(arg); ok {
		return frame, nil
	}
	var content []byte
	var err error
	if arg == "-" {
		content, err = io.ReadAll(io.LimitReader(in, 4*dialect.MaxFrame))
	} else {
		content, err = os.ReadFile(arg)
	}
	if err != nil {
		// Without the argument: digits with a slip in them may hold a card.
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			err = path.Err
		}
		return nil, fmt.Errorf("decode: not hexadecimal digits, and not a file: %w", err)
	}
	if frame, ok := fromHex(string(content)); ok {
		return frame, nil
	}
	if len(content) > dialect.MaxFrame+2 {
		return nil, fmt.Errorf("decode: %d bytes; a frame has at most %d", len(content), dialect.MaxFrame)
	}
	return content, nil
}

func fromHex(text string) ([]byte, bool) {
	frame, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	return frame, err == nil && len(frame) > 0
}
