package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PartnerKeys is what is agreed with a partner's host about keys.
type PartnerKeys string

// What may be agreed.
const (
	KeysOff    PartnerKeys = "off"         // none are shared
	KeysCMAC   PartnerKeys = "cmac"        // messages carry AES-CMAC, PINs come under AES
	KeysRetail PartnerKeys = "x9.19"       // messages carry ANSI X9.19 MACs, PINs come under triple DES
	KeysHMAC   PartnerKeys = "hmac-sha256" // messages carry HMAC-SHA-256, PINs come under AES
	KeysPIN    PartnerKeys = "pin"         // PINs come under AES; messages may be without a MAC
)

// AcquirerKeys is what is agreed with an acquirer's host.
type AcquirerKeys struct {
	Acquirer uint64
	Keys     PartnerKeys
}

// acquirerKeys is a list of acquirers: 10000002=cmac, 10000003=pin.
func acquirerKeys(key string, field *[]AcquirerKeys, help string) setting {
	words := []PartnerKeys{KeysCMAC, KeysHMAC, KeysRetail, KeysPIN}
	return setting{
		key: key, help: help, expects: "none, or ACQUIRER=WORD with commas between, the word one of cmac, hmac-sha256, x9.19, pin; each acquirer once",
		set: func(text string) bool {
			if text == "none" {
				text = ""
			}
			all, ok := listed(text, func(part string) (AcquirerKeys, bool) {
				who, word, _ := strings.Cut(part, "=")
				id, err := strconv.ParseUint(who, 10, 64)
				return AcquirerKeys{id, PartnerKeys(word)}, err == nil && slices.Contains(words, PartnerKeys(word))
			})
			if ok {
				*field = all
			}
			return ok
		},
		show: func() string {
			if len(*field) == 0 {
				return "none"
			}
			return shown(*field, func(a AcquirerKeys) string { return fmt.Sprintf("%d=%s", a.Acquirer, a.Keys) })
		},
		valid: func() bool {
			seen := make(map[uint64]bool)
			for _, a := range *field {
				if a.Acquirer == 0 || seen[a.Acquirer] || !slices.Contains(words, a.Keys) {
					return false
				}
				seen[a.Acquirer] = true
			}
			return true
		},
	}
}
