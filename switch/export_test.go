package pointswitch

// StampOf is stampOf, for tests.
var StampOf = stampOf
