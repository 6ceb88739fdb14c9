package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// secretName is what fields with secrets are called, and some others.
var secretName = regexp.MustCompile(`(?i)(^|[a-z_])(pin|pan|password|passphrase|secret|seed|kek|plain)$|^(pin|pan)block|keypem$|(^|master|private|session|work|base|file)key$|^token$`)

// bare is whether what prints by reflection finds a value of the type: bytes, text, a
// cipher. A type of our own is not: it says itself how it is printed.
func bare(of string) bool {
	switch of {
	case "string", "[]byte", "any":
		return true
	}
	return strings.HasPrefix(of, "[") && strings.HasSuffix(of, "]byte")
}

// expanded is whether a type is a key made ready, whose fields print as the key.
func expanded(of string) bool {
	switch of {
	case "cipher.Block", "cipher.AEAD", "crypto.Signer", "crypto.PrivateKey", "*ecdsa.PrivateKey", "*rsa.PrivateKey":
		return true
	default:
		return false
	}
}

// BareSecrets returns every field of a struct that by its name holds a key, a PIN, a
// card number, a password or the like, and whose type anybody prints by accident. known
// are those that hold none or cannot help it, as "folder Type.Field", with the reason.
func BareSecrets(root fs.FS, known map[string]string) ([]Breach, error) {
	paths, err := find(root, ".go")
	if err != nil {
		return nil, err
	}
	var breaches []Breach
	met := map[string]bool{}
	for _, name := range paths {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, fmt.Errorf("tidy: read: %w", err)
		}
		positions := token.NewFileSet()
		parsed, err := parser.ParseFile(positions, name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("tidy: parse: %w", err)
		}
		eachField(parsed, func(of string, field *ast.Ident, kind ast.Expr) {
			if !expanded(types.ExprString(kind)) && (!secretName.MatchString(field.Name) || !bare(types.ExprString(kind))) {
				return
			}
			full := fmt.Sprintf("%s %s.%s", path.Dir(name), of, field.Name)
			met[full] = true
			if known[full] == "" {
				breaches = append(breaches, Breach{name, positions.Position(field.Pos()).Line, fmt.Sprintf("%s.%s may be a secret, and a %s is printed by accident; hide it (points.Secret, certs.hidden)", of, field.Name, types.ExprString(kind))})
			}
		})
	}
	for full := range known {
		if !met[full] {
			breaches = append(breaches, Breach{Path: full, Rule: "is on the list of fields that may be printed, and is not there"})
		}
	}
	return breaches, nil
}

// eachField visits the named fields of the structs that a file declares.
func eachField(file *ast.File, visit func(of string, field *ast.Ident, kind ast.Expr)) {
	ast.Inspect(file, func(n ast.Node) bool {
		declared, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := declared.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				for _, name := range field.Names {
					visit(declared.Name.Name, name, field.Type)
				}
			}
		}
		return true
	})
}
