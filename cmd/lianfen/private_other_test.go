//go:build !linux

package main

// sayDumps is there for Linux only.
func sayDumps() {}
