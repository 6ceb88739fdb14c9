// Package certification carries the scripts of the certification profiles, and
// test data that fit the demonstration, into the program.
package certification

import "embed"

// Files are the scripts, and in targets the parameters that go with them.
//
//go:embed *.yaml targets/*.yaml
var Files embed.FS
