package tidy

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// ReadGo returns every Go file of the module whose root is root, whatever its
// build tags, so that a rule cannot be escaped by one.
func ReadGo(root fs.FS) ([]File, error) {
	paths, err := find(root, ".go")
	if err != nil {
		return nil, err
	}
	files := make([]File, len(paths))
	for i, name := range paths {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, fmt.Errorf("tidy: read: %w", err)
		}
		if files[i], err = parseGo(name, text); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func parseGo(name string, text []byte) (File, error) {
	positions := token.NewFileSet()
	parsed, err := parser.ParseFile(positions, name, text, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return File{}, fmt.Errorf("tidy: parse: %w", err)
	}
	file := File{Path: name, Package: parsed.Name.Name, Document: parsed.Doc.Text() != ""}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return File{}, fmt.Errorf("tidy: %s imports %s: %w", name, spec.Path.Value, err)
		}
		file.Imports = append(file.Imports, Import{Path: imported, Line: positions.Position(spec.Pos()).Line})
	}
	return file, nil
}

// find returns the files of the module that end in suffix, in order, leaving
// out what is nobody's source: hidden folders, testdata and built programs.
func find(root fs.FS, suffix string) ([]string, error) {
	var found []string
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if entry.IsDir() {
			hidden := name != "." && (base[0] == '.' || base[0] == '_')
			if hidden || base == "testdata" || base == "vendor" || name == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(base, suffix) {
			found = append(found, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("tidy: find %s: %w", suffix, err)
	}
	return found, nil
}
