// Package config holds what an operator may set: one typed struct, one table
// of keys, one order in which values win.
//
// Values are laid over each other in this order, the later one wins: the
// defaults, the YAML file, the environment (LIANFEN_LEDGER_QUEUE sets
// ledger.queue), the command line (ledger.queue=1000). An unknown key is an
// error wherever it stands, because a misspelt limit that is silently ignored
// is found out in production.
//
// It promises that every problem is reported at once, each with its place, its
// key, the value found and what was expected; that the file written by
// [Template] reads back as [Default]; and that a secret is never a value: the
// file names the path of the file that holds it.
//
// It opens the configuration file and nothing else: it does not create
// directories, read keys or bind addresses.
package config
