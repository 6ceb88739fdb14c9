// Package tools says what becomes of a test for want of a partner's program: it is skipped,
// so that everybody can run the tests, or it fails where the machine is said to have
// them all, as that of CI is, so that a test that was never made does not pass for one that
// was. It is for tests alone, and promises nothing else.
package tools

// Variable is the variable of the environment that says so: [Must], or nothing. It has
// not the switch's prefix, which its configuration would take for a key.
const (
	Variable = "TEST_TOOLS"
	Must     = "must"
)

// Test is what is asked of a test.
type Test interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Lacking ends a test that cannot be made here: wanted is what [Variable] says.
func Lacking(t Test, wanted, format string, args ...any) {
	t.Helper()
	if wanted == Must {
		t.Fatalf(format+"; "+Variable+"="+Must+" says that it is", args...)
		return
	}
	t.Skipf(format, args...)
}
