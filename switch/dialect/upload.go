package dialect

import (
	"bytes"
	"fmt"

	"github.com/lianfen/lianfen/points"
)

// UploadItem is one transaction that a terminal sends up when its batch did not
// balance (DE48 of 0320). STAN identifies it.
type UploadItem struct {
	Kind   uint8 // two digits; 00 for points
	STAN   points.STAN
	PAN    points.PAN
	Amount points.Amount
}

// MaxUpload is how many items one batch upload carries.
const MaxUpload = 8

const (
	uploadItemSize = 40 // kind 2, STAN 6, card 20, amount 12
	uploadCardSize = 20 // card numbers stand right, zeros in front
	maxUpload48    = 2 + MaxUpload*uploadItemSize
)

// DecodeUpload returns the items of a batch upload. A [points.Request] has no room
// for them, so they are read from the frame that Decode accepted.
func (d *Dialect) DecodeUpload(frame []byte) ([]UploadItem, error) {
	m, err := d.open(frame)
	if err != nil {
		return nil, err
	}
	defer d.close(m)
	if err := d.readFields(m); err != nil {
		return nil, err
	}
	if !d.packed || m.values[48] == nil {
		return nil, fault(48, "missing; a batch upload carries its items there")
	}
	items, wrong := parseUpload(m.values[48])
	if wrong != "" {
		return nil, fault(48, "%s", wrong)
	}
	return items, nil
}

// parseUpload reads count 2, then as many items.
func parseUpload(value []byte) (items []UploadItem, wrong string) {
	if len(value) < 2 {
		return nil, "shorter than its count, want 2 digits"
	}
	count := int(number(value[:2])) //nolint:gosec // two digits.
	if count < 1 || count > MaxUpload {
		return nil, fmt.Sprintf("%d items, want 1 to %d", count, MaxUpload)
	}
	if len(value) != 2+count*uploadItemSize {
		return nil, fmt.Sprintf("%d digits for %d items, want %d", len(value), count, 2+count*uploadItemSize)
	}
	for i := range count {
		item := value[2+i*uploadItemSize:][:uploadItemSize]
		pan, err := points.ParsePAN(bytes.TrimLeft(item[8:28], "0"))
		if err != nil {
			return nil, fmt.Sprintf("item %d: no card number of 1 to 19 digits", i+1)
		}
		items = append(items, UploadItem{
			Kind:   uint8(number(item[0:2])),       //nolint:gosec // two digits.
			STAN:   points.STAN(number(item[2:8])), //nolint:gosec // six digits.
			PAN:    pan,
			Amount: points.Amount(number(item[28:40])), //nolint:gosec // twelve digits.
		})
	}
	return items, ""
}

func uploadDigits(items []UploadItem) []byte {
	value := appendDecimal(nil, uint64(len(items)), 2)
	for i := range items {
		item := &items[i]
		value = appendDecimal(value, uint64(item.Kind), 2)
		value = appendDecimal(value, uint64(item.STAN), 6)
		value = append(value, bytes.Repeat([]byte{'0'}, uploadCardSize-item.PAN.Len())...)
		value = item.PAN.AppendDigits(value)
		value = appendAmount(value, item.Amount, 12)
	}
	return value
}

// AppendUpload is [Dialect.AppendRequest] for a batch upload of 1 to [MaxUpload] items.
func (d *Dialect) AppendUpload(dst []byte, req *points.Request, items []UploadItem) ([]byte, error) {
	if !d.packed || req.Function != points.BatchUpload || len(items) < 1 || len(items) > MaxUpload {
		return dst, fault(48, "%d items in a %s of dialect %s, want 1 to %d in a batch_upload of pos",
			len(items), req.Function, d.name, MaxUpload)
	}
	value := uploadDigits(items)
	if _, wrong := parseUpload(value); wrong != "" {
		return dst, fault(48, "%s", wrong)
	}
	return d.appendRequest(dst, req, &extra{de48: value})
}

// AppendUploadResponse is [Dialect.AppendResponse] for a batch upload: the answer
// gives DE48 back as frame, the request's, has it.
func (d *Dialect) AppendUploadResponse(dst, frame []byte, req *points.Request, resp *points.Response) []byte {
	var echo []byte
	if m, err := d.open(frame); err == nil {
		defer d.close(m)
		if d.readFields(m) == nil {
			echo = m.values[48]
		}
	}
	dst, _ = d.appendAnswer(dst, req, resp, echo) // as in AppendResponse
	return dst
}
