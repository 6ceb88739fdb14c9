package book_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Every place of a record that can hold a card's token is visited: the type itself is
// asked where tokens can be, so that a new field is not forgotten. None is in an outcome.
func TestEachCardVisitsEveryToken(t *testing.T) {
	var cmd book.Command
	count := fillTokens(reflect.ValueOf(&cmd).Elem(), 0)
	require.Equal(t, 2*(1+1+1+1), count, "card, to-card, entry, item; of the command and of its group's one member")
	seen := map[points.CardToken]bool{}
	cmd.EachCard(func(token *points.CardToken) {
		require.False(t, token.IsZero())
		seen[*token] = true
		*token = points.CardToken{}
	})
	require.Len(t, seen, count)
	cmd.EachCard(func(*points.CardToken) { require.Fail(t, "what is no card was visited, or a change did not stay") })
	var out book.Outcome
	require.Zero(t, fillTokens(reflect.ValueOf(&out).Elem(), 100))
}

// fillTokens gives every token below v a value of its own, making slices of one and
// what pointers point to on the way, and returns how many it gave. A group has no groups.
func fillTokens(v reflect.Value, from byte) (count int) {
	switch {
	case v.Type() == reflect.TypeFor[points.CardToken]():
		v.Set(reflect.ValueOf(points.CardToken{from + 1}))
		return 1
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fillTokens(v.Elem(), from)
	case v.Kind() == reflect.Slice:
		if v.Type() == reflect.TypeFor[[]book.Command]() && from >= 50 {
			return 0
		}
		if v.Type() == reflect.TypeFor[[]book.Command]() {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			return fillTokens(v.Index(0), from+50)
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return fillTokens(v.Index(0), from)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				count += fillTokens(v.Field(i), from+byte(count))
			}
		}
	}
	return count
}
