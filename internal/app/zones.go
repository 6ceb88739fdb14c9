package app

import (
	"fmt"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	pointswitch "github.com/lianfen/lianfen/switch"
)

// openZones takes up the partners' hosts with whom keys are shared. Where there is a
// keystore a partner can be added by a reload.
func (a *App) openZones() error {
	c := &a.opts.Config
	rules := zoneRules(c)
	if a.keystore == nil {
		for zone := range rules {
			return fmt.Errorf("keys are to be shared with %v, and there is no keystore %s; make it: lianfen keys init", zone, c.Keys.File)
		}
		return nil
	}
	var err error
	a.zones, err = pointswitch.NewZones(pointswitch.ZonesOptions{
		Keystore: a.keystore, Rules: rules, Overlap: c.Keys.Overlap, MACErrors: c.Keys.MACErrors, Clock: a.opts.Clock, Log: a.log,
	})
	return err
}

func (a *App) reloadZones(c *config.Config) error {
	rules := zoneRules(c)
	if a.zones != nil {
		a.zones.Reload(rules)
		return nil
	}
	for zone := range rules {
		return fmt.Errorf("keys are to be shared with %v, and there was no keystore when this process began; start it anew", zone)
	}
	return nil
}

// zoneRules is what is agreed with partners about keys.
func zoneRules(c *config.Config) map[certs.Zone]pointswitch.ZoneRules {
	rules := make(map[certs.Zone]pointswitch.ZoneRules)
	add := func(role certs.Role, id uint64, keys config.PartnerKeys) {
		switch keys {
		case config.KeysCMAC, config.KeysPIN:
			rules[certs.Zone{Role: role, ID: id}] = pointswitch.ZoneRules{MAC: certs.CMAC, Optional: keys == config.KeysPIN}
		case config.KeysHMAC:
			rules[certs.Zone{Role: role, ID: id}] = pointswitch.ZoneRules{MAC: certs.HMAC}
		case config.KeysRetail:
			rules[certs.Zone{Role: role, ID: id}] = pointswitch.ZoneRules{MAC: certs.RetailMAC}
		case config.KeysOff:
		}
	}
	for _, a := range c.Switch.ParticipantKeys {
		add(certs.RoleAcquirer, a.Acquirer, a.Keys)
	}
	for i := range c.Links {
		add(certs.RoleIssuer, c.Links[i].Zone, c.Links[i].Keys)
	}
	return rules
}
