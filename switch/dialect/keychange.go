package dialect

import (
	"bytes"

	"github.com/lianfen/lianfen/points"
)

// keyChange is DE70 of a change of keys.
const keyChange = 161

// KeyBlocks returns what a change of keys that Decode accepted carries: key blocks (DE120),
// one behind the other, and their check values (DE48), six hexadecimal digits each. A
// [points.Request] has no room for them. Without blocks the sender asks for keys.
func (d *Dialect) KeyBlocks(frame []byte) (blocks, checks []byte, err error) {
	m, wrong := d.open(frame)
	if wrong != nil {
		return nil, nil, wrong
	}
	defer d.close(m)
	if wrong := d.readFields(m); wrong != nil {
		return nil, nil, wrong
	}
	return bytes.Clone(m.values[120]), bytes.Clone(m.values[48]), nil
}

// AppendKeyChange is [Dialect.AppendRequest] for a change of keys with key blocks and their
// check values; both may be empty.
func (d *Dialect) AppendKeyChange(dst []byte, req *points.Request, blocks, checks string) ([]byte, error) {
	if d.packed || req.Function != points.KeyChange {
		return dst, fault(120, "a %s of dialect %s has no key blocks", req.Function, d.name)
	}
	var more extra
	if blocks != "" {
		more.de120 = []byte(blocks)
	}
	if checks != "" {
		more.de48 = []byte(checks)
	}
	return d.appendRequest(dst, req, &more)
}
