package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// envPrefix begins the name of every environment variable that is read.
	envPrefix = "LIANFEN_"
	// maxFileBytes bounds the file; a hundred listeners fit in a tenth of it.
	maxFileBytes = 1 << 20

	commandLine = "command line"
)

// Load reads the file at path, lays env (as os.Environ gives it) and overrides
// (key=value) over it, and checks the result. An empty path means no file. A
// relative path among the values, wherever it was said, is resolved against
// the file's folder; without a file, against the working directory.
//
// The error is either that of reading the file, or every [Problem] joined.
func Load(path string, env, overrides []string) (Config, error) {
	c := Default()
	l := layers{config: &c, sources: make(map[string]string)}
	if path != "" {
		text, err := readFile(path)
		if err != nil {
			return Config{}, err
		}
		if err := l.file(filepath.Base(path), text); err != nil {
			return Config{}, fmt.Errorf("config: %s: %w", path, err)
		}
	}
	l.environment(env)
	l.overrides(overrides)

	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("config: folder of %q: %w", path, err)
	}
	for _, s := range c.settings() {
		if value := s.show(); s.isPath && value != "" && !filepath.IsAbs(value) {
			s.set(filepath.Join(folder, value))
		}
	}
	if file, ok := strings.CutPrefix(c.Keys.KEK, kekFile); ok && file != "" && !filepath.IsAbs(file) {
		c.Keys.KEK = kekFile + filepath.Join(folder, file)
	}
	for _, problem := range c.problems() {
		problem.Source = l.sources[problem.Key]
		l.problems = append(l.problems, problem)
	}
	if err := join(l.problems); err != nil {
		return Config{}, err
	}
	return c, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("config: read %s: %w", path, err)
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("config: %s is longer than %d bytes", path, maxFileBytes)
	}
	return text, nil
}

// layers lays one source after the other over a Config and remembers who said
// what, so that a problem found at the end still names its place.
type layers struct {
	config   *Config
	sources  map[string]string // key -> where its value came from
	problems []*Problem
}

func (l *layers) report(source, key, value, expected string) {
	l.problems = append(l.problems, &Problem{Source: source, Key: key, Value: value, Expected: expected})
}

// apply sets s from text, or reports why not.
func (l *layers) apply(s setting, source, text string) {
	if !s.set(text) {
		l.report(source, s.key, text, s.expects)
		return
	}
	l.sources[s.key] = source
}

func (l *layers) environment(env []string) {
	byName := make(map[string]setting)
	for _, s := range l.config.settings() {
		byName[envName(s.key)] = s
	}
	// Sorted, so that the same mistakes give the same report.
	for _, entry := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || fromOrchestrator(name) {
			continue
		}
		s, known := byName[name]
		if !known {
			l.report("environment", name, value, "a key such as "+envName("ledger.queue"))
			continue
		}
		l.apply(s, name, value)
	}
}

// envName returns the environment variable that sets key.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// fromOrchestrator reports whether name is one of those that Kubernetes puts in
// every container when a service is called lianfen. No key begins like them.
func fromOrchestrator(name string) bool {
	return name == envPrefix+"PORT" ||
		strings.HasPrefix(name, envPrefix+"PORT_") ||
		strings.HasPrefix(name, envPrefix+"SERVICE_")
}

func (l *layers) overrides(overrides []string) {
	byKey := make(map[string]setting)
	for _, s := range l.config.settings() {
		byKey[s.key] = s
	}
	for _, entry := range overrides {
		key, value, found := strings.Cut(entry, "=")
		if !found {
			l.report(commandLine, key, "", "key=value")
			continue
		}
		s, known := byKey[key]
		if !known {
			l.report(commandLine, key, value, "a known key such as ledger.queue")
			continue
		}
		l.apply(s, commandLine, value)
	}
}
