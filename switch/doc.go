// Package pointswitch carries a message from its frame to its answer: decode,
// admit, route, post, answer.
//
// It owns the flow and the order of the checks (admit.go), what each message
// family asks of the ledger (authorize.go, reverse.go, network.go) and what an
// outcome means on the wire (answer.go). It owns no state of points: that is the
// ledger's; no bytes of a dialect: that is the dialect's; no connection: that is
// the link's.
//
// It promises that every frame handed over is finished exactly once: answered,
// or dropped where messages.md 10.4 says so; that an answer with an effect
// leaves only after the effect is durable; that a request refused at the door
// leaves no trace in the journal; that no request starts a goroutine.
//
// The folder is called switch; since that is a word of the language, the package
// is not.
package pointswitch
