// Package dialect turns ISO 8583 frames into [points.Request] and
// [points.Response] values and back.
//
// There are two dialects. `pos` is what terminals speak: the UnionPay POS
// convention, packed decimal with a TPDU and a header. `host` is what partners
// and issuers speak: ISO 8583:1987 in ASCII, with a raw or a hexadecimal bitmap.
// The fields of each stand in one place, a moov [iso8583.MessageSpec]; the
// functions that a message can ask for stand in one table per dialect. Both are
// printed by [Protocol], which writes docs/protocol.md.
//
// Frames are not read by moov. When a dialect is made its spec is compiled into a
// plan (plan.go), which reads and writes in place; moov walking the same spec is the
// oracle of the tests, and agrees to the word of every error. A field is added in
// the spec, and in the table of what a request's elements mean; the plan follows, or
// refuses by name what it does not know.
//
// The package promises:
//
//   - D1: no bytes from a peer make it panic, and nothing it reads is unbounded
//     ([MaxFrame], and the length of every field);
//   - D2: what [Dialect.AppendRequest] wrote, [Dialect.Decode] reads back, and
//     what [Dialect.AppendResponse] wrote, [Dialect.DecodeResponse] reads back;
//   - D3: an error names the field and what was wanted, never the content of a
//     card number, track, PIN block or chip field;
//   - D4: after an error that is not fatal the request holds every field that
//     could be read, so that the answer 30 echoes what the sender matches on;
//   - D5: an answer gives back what the request's envelope said: TPDU swapped,
//     header, bitmap form and width;
//   - D6: Decode, DecodeResponse, AppendRequest and AppendResponse allocate nothing
//     for a message without fault, beside what the caller's buffer lacks and the
//     words of a host answer's DE44.
//
// It knows no keys. A MAC is carried as it came and not verified here; package
// certs computes it over the span that [Dialect.MACSpan] finds. It opens no socket, keeps no state
// and reads no clock. A [Dialect] is immutable and safe for concurrent use; what it
// keeps between frames is memory to take the next one apart in.
package dialect
