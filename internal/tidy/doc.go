// Package tidy holds the house to its own rules: which package may import
// which, where a third party may enter, that documents point at what exists.
//
// It is used by its tests only, which read every file of the module. The rules
// are data ([Floors], [Fences]) so that changing one is a visible, reviewed
// line beside its reason.
//
// It promises that each breach names the file, the line and the rule. It does
// not compile anything and looks at direct imports only: what a library brings
// along is the library's business.
package tidy
