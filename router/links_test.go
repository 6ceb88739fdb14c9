package router_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// Links are read as they are written, in order of preference; what is not so is refused.
func TestParseLinks(t *testing.T) {
	links, err := router.ParseLinks(" main*3+second , reserve")
	require.NoError(t, err)
	require.Equal(t, []book.RouteLink{{Link: "main", Priority: 1, Weight: 3}, {Link: "second", Priority: 1, Weight: 1}, {Link: "reserve", Priority: 2, Weight: 1}}, links)
	require.Equal(t, "main*3+second, reserve", router.FormatLinks(links))
	links, err = router.ParseLinks(" ")
	require.NoError(t, err)
	require.Empty(t, links)
	for _, wrong := range []string{"a,", "+a", "a*0", "a*x", "a*65536", "a,b,c,d,e,f,g,h,i", "a+b+c+d+e+f+g+h+i"} {
		_, err := router.ParseLinks(wrong)
		require.ErrorContains(t, err, "links", wrong)
	}
}

// The links are those of the route that the card and programme take.
func TestLinksOfRoute(t *testing.T) {
	table := router.NewTable(registry(t))
	require.False(t, table.HasLinks())
	r := registry(t)
	every, only := []book.RouteLink{{Link: "bank", Priority: 1, Weight: 1}}, []book.RouteLink{{Link: "bank", Priority: 1, Weight: 1}, {Link: "other", Priority: 2, Weight: 1}}
	r.Routes = append(r.Routes, &book.Route{Prefix: "77", Issuer: 2, Links: every}, &book.Route{Prefix: "77", Issuer: 2, Only: 902, Links: only}, &book.Route{Prefix: "771", Issuer: 2})
	table = router.NewTable(r)
	require.True(t, table.HasLinks())
	card := pan(t, "7700000000000001")
	require.Equal(t, every, table.Links(card, 901))
	require.Equal(t, only, table.Links(card, 902))
	require.Empty(t, table.Links(pan(t, "7710000000000001"), 902))
	require.Empty(t, table.Links(points.PAN{}, 902))
}

// Terms are read as they are written; what is not so is refused.
func TestParseTender(t *testing.T) {
	terms, err := router.ParseTender("901, 902:3/2")
	require.NoError(t, err)
	require.Equal(t, []book.TenderTerm{{Program: 901, Points: 1, Per: 1}, {Program: 902, Points: 3, Per: 2}}, terms)
	require.Equal(t, "901, 902:3/2", router.FormatTender(terms))
	terms, err = router.ParseTender("")
	require.NoError(t, err)
	require.Empty(t, terms)
	for _, wrong := range []string{"x", "901,", "899", "901:0/1", "901:1", "901:1/x", "901,902,903,904,905"} {
		_, err := router.ParseTender(wrong)
		require.ErrorContains(t, err, "tender", wrong)
	}
}
