package router

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
)

// ParseLinks reads the links of a route in order of preference: a comma stands before a
// reserve, a plus joins links that share the traffic, *3 gives one three times the share.
//
//	main*3+second, reserve
func ParseLinks(text string) ([]book.RouteLink, error) {
	var links []book.RouteLink
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	priority := uint8(0)
	for group := range strings.SplitSeq(text, ",") {
		if priority++; priority > book.MaxRouteLinks {
			return nil, fmt.Errorf("links %q: more than %d", text, book.MaxRouteLinks)
		}
		for item := range strings.SplitSeq(group, "+") {
			name, weight, weighted := strings.Cut(strings.TrimSpace(item), "*")
			link := book.RouteLink{Link: name, Priority: priority, Weight: 1}
			if weighted {
				n, err := strconv.ParseUint(weight, 10, 16)
				if err != nil || n == 0 {
					return nil, fmt.Errorf("links %q: weight %q, want 1 to %d", text, weight, math.MaxUint16)
				}
				link.Weight = uint16(n)
			}
			if name == "" {
				return nil, fmt.Errorf("links %q: a name is missing", text)
			}
			links = append(links, link)
		}
	}
	if len(links) > book.MaxRouteLinks {
		return nil, fmt.Errorf("links %q: more than %d", text, book.MaxRouteLinks)
	}
	return links, nil
}

// FormatLinks writes links, in order of priority, as [ParseLinks] reads them.
func FormatLinks(links []book.RouteLink) string {
	endpoints := make([]config.Endpoint, len(links))
	for i, l := range links {
		endpoints[i] = config.Endpoint{Address: l.Link, Priority: int(l.Priority), Weight: int(l.Weight)}
	}
	return config.FormatEndpoints(endpoints)
}
