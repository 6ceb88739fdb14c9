package config

import (
	"maps"
	"slices"
	"strings"
)

// Changed lists the keys whose values differ between two configurations, ascending. Of an
// item of a list that only one of them has, it is the key of the item: listeners.pos.
func Changed(was, now *Config) []string {
	before, after := was.values(), now.values()
	items := [2]map[string]bool{was.items(), now.items()}
	changed := make(map[string]bool)
	for _, shown := range []map[string]string{before, after} {
		for key := range shown {
			old, inOld := before[key]
			is, inIs := after[key]
			if inOld && inIs && old == is {
				continue
			}
			changed[only(key, items)] = true
		}
	}
	return slices.Sorted(maps.Keys(changed))
}

// only is the item that key is of, where one configuration alone has it; else the key.
func only(key string, items [2]map[string]bool) string {
	for i, some := range items {
		for item := range some {
			if strings.HasPrefix(key, item+".") && !items[1-i][item] {
				return item
			}
		}
	}
	return key
}

// values are all values as they are written, by key.
func (c *Config) values() map[string]string {
	values := make(map[string]string)
	for _, s := range c.settings() {
		values[s.key] = s.show()
	}
	return values
}

// items are the keys of the items of all lists.
func (c *Config) items() map[string]bool {
	items := make(map[string]bool)
	add := func(n int, prefix func(int) string) {
		for i := range n {
			items[strings.TrimSuffix(prefix(i), ".")] = true
		}
	}
	add(len(c.Listeners), c.listenerPrefix)
	add(len(c.Links), c.linkPrefix)
	add(len(c.Terminals), c.terminalsPrefix)
	add(len(c.Cash.Accounts), c.Cash.accountPrefix)
	add(len(c.Courier.Deliveries), c.Courier.deliveryPrefix)
	return items
}
