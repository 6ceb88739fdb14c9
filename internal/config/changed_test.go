package config

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// full is a configuration that has an item in each list.
func full() Config {
	c := Default()
	c.Links = []Link{defaultLink()}
	c.Links[0].Name = "bank"
	c.Terminals = []Terminals{{Name: "all"}}
	c.Courier.Deliveries = []Delivery{{Member: 20000001}}
	return c
}

// leaves calls visit with each value below v that is no struct and no list of structs.
func leaves(v reflect.Value, path string, visit func(path string, v reflect.Value)) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			leaves(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && v.Len() > 0:
		for i := range v.Len() {
			leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	default:
		visit(path, v)
	}
}

// disturb gives a value another one.
func disturb(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		if v.Type() == reflect.TypeFor[time.Duration]() {
			v.SetInt(v.Int() + int64(time.Second))
		} else {
			v.SetInt(v.Int() + 4) // The next level of a log, too.
		}
	case reflect.Uint64, reflect.Uint32, reflect.Uint8:
		v.SetUint(v.Uint() + 1)
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		if last := v.Index(v.Len() - 1); last.Kind() == reflect.String {
			last.SetString("7")
		}
	default:
		t.Fatalf("Config%s is a %v, of which this test has no other value", path, v.Type())
	}
}

// Every field of the configuration that differs is told, under its key: one that a setting
// was not made of, or that its setting does not show, would be changed without anybody's
// hearing of it.
func TestChangedSeesEveryField(t *testing.T) {
	var paths []string
	whole := full()
	leaves(reflect.ValueOf(&whole).Elem(), "", func(path string, _ reflect.Value) { paths = append(paths, path) })
	require.Greater(t, len(paths), 100)
	for _, path := range paths {
		was, now := full(), full()
		require.Empty(t, Changed(&was, &now))
		leaves(reflect.ValueOf(&now).Elem(), "", func(at string, v reflect.Value) {
			if at == path {
				disturb(t, path, v)
			}
		})
		require.NotEmpty(t, Changed(&was, &now), "Config%s", path)
	}
}

// What differs is named by its key, and an item that is new or gone by that of the item.
func TestChangedNames(t *testing.T) {
	was, now := full(), full()
	now.Settlement.CutOver = ClockTimes{22 * 60}
	now.Listeners[0].Address = "127.0.0.1:9"
	now.Listeners = now.Listeners[:1]
	now.Links = append(now.Links, defaultLink())
	now.Links[1].Name = "other"
	now.Courier.Deliveries = nil
	require.Equal(t, []string{"links.other", "listeners.host", "listeners.pos.address", "settlement.cutover", "settlement.delivery.20000001"}, Changed(&was, &now))
	require.Equal(t, Changed(&was, &now), Changed(&now, &was))
}
