package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What package yaml says of keys and values that do not fit, in words of Go.
var (
	yamlUnknown = regexp.MustCompile(`field (\S+) not found in type \S+`)                    //nolint:gochecknoglobals // never written.
	yamlWrong   = regexp.MustCompile("cannot unmarshal (!!\\S+)(?: (`[^`]*`))? into (\\S+)") //nolint:gochecknoglobals // as above.
	yamlTwice   = regexp.MustCompile(`field (\S+) already set in type \S+`)                  //nolint:gochecknoglobals // as above.
)

// PlainYAML says what is wrong with a YAML file in the words of who wrote it: lines, keys
// and what is wanted, and no types of Go. Other errors stay as they are.
func PlainYAML(err error) error {
	if _, ok := errors.AsType[*yaml.TypeError](err); !ok {
		return err
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:\n")
	text = yamlUnknown.ReplaceAllString(text, `unknown key "$1"`)
	text = yamlTwice.ReplaceAllString(text, `the key $1 stands there twice`)
	text = yamlWrong.ReplaceAllStringFunc(text, func(found string) string {
		parts := yamlWrong.FindStringSubmatch(found)
		is := strings.Trim(parts[2], "`")
		switch {
		case is != "":
			is = fmt.Sprintf("%q", is)
		case parts[1] == "!!map":
			is = "a section of keys"
		case parts[1] == "!!seq":
			is = "a list"
		default:
			is = "this"
		}
		return is + " does not fit: want " + yamlWant(parts[3])
	})
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return errors.New(strings.Join(lines, "; "))
}

// yamlWant is a type of Go as who writes a file knows it.
func yamlWant(kind string) string {
	switch {
	case strings.HasPrefix(kind, "[]"):
		return "a list"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number that fits"
	case kind == "bool":
		return "true or false"
	case kind == "string":
		return "text"
	case kind == "time.Duration":
		return "a duration such as 90s"
	}
	return "what belongs there: see the documentation of the file"
}
