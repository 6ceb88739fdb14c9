package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/switch/dialect"
)

// newDocs writes the documents that the program knows best. It is for the
// Makefile.
func newDocs() *cobra.Command {
	var frames, man string
	cmd := &cobra.Command{
		Use:    "docs DIR",
		Short:  "Write protocol.md, files.md and cli/ into a folder",
		Hidden: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if man != "" {
				return none(cmd, args)
			}
			return one("the folder")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if man != "" {
				return manPages(cmd.Root(), man)
			}
			pages := filepath.Join(args[0], "cli")
			if err := os.MkdirAll(pages, 0o750); err != nil {
				return fmt.Errorf("docs: %w", err)
			}
			protocol, err := os.Create(filepath.Join(args[0], "protocol.md"))
			if err != nil {
				return fmt.Errorf("docs: %w", err)
			}
			if err := dialect.Protocol(protocol, os.DirFS(frames)); err != nil {
				return fmt.Errorf("docs: %w", err)
			}
			if err := protocol.Close(); err != nil {
				return fmt.Errorf("docs: %w", err)
			}
			sets, err := os.Create(filepath.Join(args[0], "files.md"))
			if err != nil {
				return fmt.Errorf("docs: %w", err)
			}
			if err := errors.Join(files.Document(sets), sets.Close()); err != nil {
				return fmt.Errorf("docs: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			if err := doc.GenMarkdownTree(root, pages); err != nil {
				return fmt.Errorf("docs: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&man, "man", "", "write man pages into this folder instead")
	cmd.Flags().StringVar(&frames, "frames", "testdata/frames", "the golden frames that serve as examples")
	return cmd
}

// manPages writes a page of section 1 for every command. They are of today, or of
// SOURCE_DATE_EPOCH.
func manPages(root *cobra.Command, folder string) error {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return fmt.Errorf("docs: %w", err)
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Title: "LIANFEN", Section: "1", Source: "lianfen " + versionOf(), Manual: "lianfen"}
	if err := doc.GenManTree(root, header, folder); err != nil {
		return fmt.Errorf("docs: %w", err)
	}
	return nil
}
