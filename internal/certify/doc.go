// Package certify plays a certification's scripts (入网测试) against an
// implementation of one of the dialects and tells what differs.
//
// A profile says who is tested. With profile pos the kit is a terminal and the
// target a switch that terminals talk to; with profile issuer the kit is a switch
// and the target an issuer's host. It owns the scripts' language ([Script]), the
// target's test data ([Parameters]), the run ([Run]) and the report ([Report]) as
// text, HTML and JUnit XML.
//
// It promises:
//
//   - K1: every expectation that was looked at is in the report, with what was
//     expected and what came, whether it was met or not;
//   - K2: nothing is passed that was not looked at: a case whose test data are
//     missing is skipped and named, and an answer that belongs to no request, or
//     comes twice, is a difference;
//   - K3: bytes from the target make it neither panic nor wait longer than the
//     step allows;
//   - K4: the report shows card numbers masked, in frames too, as far as a frame
//     can be read.
//
// It knows the target by its address and its answers only. It holds no keys:
// messages go out without a MAC, and nothing is said about one.
package certify
