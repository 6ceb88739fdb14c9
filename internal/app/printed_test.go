package app_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// secretTypes are those whose values nothing may print. What holds one is filled with
// marks, so that a mark that comes out is a secret that came out.
var secretTypes = []reflect.Type{
	reflect.TypeFor[points.Secret](), reflect.TypeFor[points.PINBlock](), reflect.TypeFor[points.PAN](), reflect.TypeFor[book.PINValue](), reflect.TypeFor[app.CardNumber](),
}

// marked is the secret that is put everywhere: digits, so that it is a card number too.
const marked = "6222021357924680017"

// plant puts the mark wherever v can hold a secret, and says whether it could.
func plant(t *testing.T, v reflect.Value, depth int) (planted bool) {
	t.Helper()
	if depth > 6 {
		return false
	}
	for _, secret := range secretTypes {
		if v.Type() != secret {
			continue
		}
		switch {
		case v.Kind() == reflect.String:
			v.SetString(marked)
		case v.Kind() == reflect.Array:
			reflect.Copy(v, reflect.ValueOf([]byte(marked)))
		default:
			pan, err := points.ParsePAN(marked)
			require.NoError(t, err)
			v.Set(reflect.ValueOf(pan))
		}
		return true
	}
	if v.Type() == reflect.TypeFor[book.Operator]() {
		v.FieldByName("Password").SetString(marked)
		v.FieldByName("Secret").SetString(marked)
		v.FieldByName("Invite").Set(reflect.ValueOf([32]byte([]byte(marked + marked[:13]))))
		return true
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				planted = plant(t, v.Field(i), depth+1) || planted
			}
		}
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if planted = plant(t, fresh.Elem(), depth+1); planted {
			v.Set(fresh)
		}
	case reflect.Slice:
		fresh := reflect.MakeSlice(v.Type(), 1, 1)
		if planted = plant(t, fresh.Index(0), depth+1); planted {
			v.Set(fresh)
		}
	default:
	}
	return planted
}

// Whatever holds a card number, a PIN, a password, a code or a token does not show it when
// it is printed or logged, however deep it lies. JSON shows what is sent as JSON, and
// nothing else.
func TestSecretsAreNotPrinted(t *testing.T) {
	for _, c := range []struct {
		of   any
		sent bool // as JSON, to the other end of a door
	}{
		{new(app.SignIn), true},
		{new(app.Session), true},
		{new(app.Joining), true},
		{new(app.Joined), true},
		{new(app.OperatorChanged), true},
		{new(app.Enrolment), true},
		{new(app.PINChange), true},
		{new(app.PINOf), true},
		{new(app.Holder), true},
		{new(app.Adjustment), true},
		{new(app.Directory), true},
		{new(points.Request), false},
		{new(points.Response), false},
		{new(book.Operator), false},
		{new(book.Command), false},
		{new(book.Record), false},
		{new(app.OperatorState), false},
	} {
		v := reflect.ValueOf(c.of).Elem()
		planted := plant(t, v, 0)
		if _, response := c.of.(*points.Response); !response {
			require.True(t, planted, "%s has nothing to hide", v.Type())
		}
		for _, thing := range []any{c.of, v.Interface()} {
			var all strings.Builder
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				_, _ = fmt.Fprintf(&all, verb+"\n", thing)
			}
			slog.New(slog.NewTextHandler(&all, nil)).Info("text", "thing", thing)
			if c.sent {
				if _, named := thing.(slog.LogValuer); named {
					slog.New(slog.NewJSONHandler(&all, nil)).Info("json", "thing", thing)
				}
			} else {
				text, err := json.Marshal(thing)
				require.NoError(t, err)
				all.Write(text)
				slog.New(slog.NewJSONHandler(&all, nil)).Info("json", "thing", thing)
			}
			for _, form := range []string{marked, marked[:12], hex.EncodeToString([]byte(marked[:8])), strings.ToUpper(hex.EncodeToString([]byte(marked[:8]))), strings.Trim(fmt.Sprint(string([]byte(marked[:8]))), "[]"), "0x36, 0x32, 0x32"} {
				require.NotContains(t, all.String(), form, "%T", thing)
			}
		}
	}
	text, err := json.Marshal(app.SignIn{Name: "li", Password: marked, Code: "1"})
	require.NoError(t, err)
	require.Contains(t, string(text), marked, "what is sent arrives")
}

// The configuration holds no secret: only where the files are.
func TestConfigurationHoldsNoSecrets(t *testing.T) {
	var c config.Config
	require.False(t, plant(t, reflect.ValueOf(&c).Elem(), 0))
	for _, of := range []reflect.Type{reflect.TypeFor[config.Config](), reflect.TypeFor[certs.Mark](), reflect.TypeFor[book.Ceremony]()} {
		walk(of, func(path string, field reflect.StructField) {
			require.NotEqual(t, reflect.TypeFor[[]byte](), field.Type, "%s.%s", of, path)
		})
	}
}

func walk(of reflect.Type, visit func(path string, field reflect.StructField)) {
	switch of.Kind() {
	case reflect.Struct:
		for field := range of.Fields() {
			visit(field.Name, field)
			walk(field.Type, func(path string, f reflect.StructField) { visit(field.Name+"."+path, f) })
		}
	case reflect.Slice, reflect.Array:
		walk(of.Elem(), visit)
	default:
	}
}
