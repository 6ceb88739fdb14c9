package dialect

import (
	"github.com/lianfen/lianfen/points"
)

// macSize is the length of a MAC, before it is written in hexadecimal.
const macSize = 8

// Signer makes message authentication codes of eight bytes and allocates nothing.
type Signer interface {
	Append(dst, message []byte) []byte
}

// Signed returns what the MAC of a frame that [Dialect.Decode] has read into req is over:
// from the message type to the field before the MAC, as sent. The MAC is the end of the
// frame; what anybody has put behind it is part of what is returned, so that no MAC is
// right for it.
func (d *Dialect) Signed(frame []byte, req *points.Request) []byte {
	from, to := d.preamble(), len(frame)-d.macWidth(req)
	if to < from {
		return nil
	}
	return frame[from:to]
}

// macWidth is how many bytes a MAC has on the wire.
func (d *Dialect) macWidth(req *points.Request) int {
	if req.Envelope.HexMap && !d.packed {
		return 2 * macSize
	}
	return macSize
}

// Sign writes the MAC of a frame over the one that stands at its end: that of an answer
// which [Dialect.AppendResponse] wrote for req, or of a request. A frame without a MAC
// stays as it is: an answer has one where the request has, unless it refuses that.
func (d *Dialect) Sign(frame []byte, req *points.Request, by Signer) {
	width := d.macWidth(req)
	if !d.carriesMAC(frame, req) || len(frame) < d.preamble()+width {
		return
	}
	at := len(frame) - width
	mac := by.Append(frame[at:at], frame[d.preamble():at]) // In its place: at least eight bytes are there.
	if width == macSize {
		return
	}
	const digits = "0123456789ABCDEF"
	for i := macSize - 1; i >= 0; i-- { // From the end: each byte is read before its place is written.
		b := mac[i]
		frame[at+2*i], frame[at+2*i+1] = digits[b>>4], digits[b&0xF]
	}
}

// carriesMAC reports whether the bitmap of a frame of ours names the MAC's element.
func (d *Dialect) carriesMAC(frame []byte, req *points.Request) bool {
	hexMap := req.Envelope.HexMap && !d.packed
	at, size := d.preamble()+2, bitmapSize
	if !d.packed {
		at += 2
	}
	if hexMap {
		size *= 2
	}
	if len(frame) < at+size {
		return false
	}
	end := at + size
	if !d.packed && (frame[at] >= '8' && hexMap || frame[at]&0x80 != 0 && !hexMap) {
		end += size // A second bitmap: the MAC is its last element.
	}
	if len(frame) < end {
		return false
	}
	last := frame[end-1]
	if hexMap && last > '9' {
		last -= 'A' - 10 // Upper or lower case, the lowest bit is the same.
	}
	return last&1 != 0
}
