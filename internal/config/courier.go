package config

import (
	"strconv"
	"strings"
)

// Courier says how the file sets of a settlement get to members.
type Courier struct {
	Deliveries []Delivery
	Fetch      Fetch
	// AckBy is the local time by which members have acknowledged what was published before;
	// none: nobody is waited for.
	AckBy ClockTimes
}

// Delivery is a member to whose own SFTP server files are carried.
type Delivery struct {
	Member       int    // 8 digits
	Address      string // host:port
	User         string
	Folder       string // on the member's server; a folder a cycle is made in it
	IdentityFile string // path of the OpenSSH private key that opens it
	KnownHosts   string // path of the file with the server's key, as ssh has it
}

// Fetch is the SFTP server at which members fetch their files.
type Fetch struct {
	Address      string // host:port; empty: there is none
	IdentityFile string // path of its OpenSSH private key
	Keys         string // path of a folder with a file of public keys for each member: 20000001.pub
}

func defaultCourier() Courier { return Courier{AckBy: ClockTimes{9 * 60}} }

func defaultDelivery() Delivery { return Delivery{Folder: "lianfen"} }

// deliveryList is the key of the list of members to whom files are carried.
const deliveryList = "settlement.delivery"

// deliveryPrefix returns the beginning of the keys of item i, as listenerPrefix does.
func (c *Courier) deliveryPrefix(i int) string {
	if member := c.Deliveries[i].Member; member != 0 {
		return deliveryList + "." + eightDigits(member) + "."
	}
	return deliveryList + "." + strconv.Itoa(i+1) + "."
}

func eightDigits(member int) string {
	text := strconv.Itoa(member)
	return strings.Repeat("0", max(0, 8-len(text))) + text
}

func (c *Courier) settings() []setting {
	table := []setting{
		optional(address("settlement.fetch_address", &c.Fetch.Address, "Address of the SFTP server at which members fetch their files. Empty: there is none.")),
		optional(file("settlement.fetch_host_key", &c.Fetch.IdentityFile, "File of the OpenSSH private key that this server shows (ssh-keygen -t ed25519); "+
			"members put the public one among their known hosts.")),
		optional(path("settlement.fetch_keys", &c.Fetch.Keys, "Folder with the public keys of the members that fetch: a file for each, of lines as in "+
			"authorized_keys, named by its number: 20000001.pub.")),
		clockTimes("settlement.ack_by", &c.AckBy, 1, "Local time by which members have acknowledged what was published before it; what is missing is told then. "+
			"Of none nobody is told. It matters where files are carried or fetched."),
	}
	for i := range c.Deliveries {
		table = append(table, c.Deliveries[i].settings(c.deliveryPrefix(i))...)
	}
	return table
}

func (d *Delivery) settings(prefix string) []setting {
	return []setting{
		number(prefix+"member", &d.Member, 1, 99_999_999, "The member's number."),
		address(prefix+"address", &d.Address, "Its SFTP server."),
		oneWord(prefix+"user", &d.User, "User there."),
		oneWord(prefix+"folder", &d.Folder, "Folder there; a folder for each cycle is made in it, such as 20260216-01."),
		file(prefix+"key", &d.IdentityFile, "File of the OpenSSH private key that opens it; nobody else may read it."),
		file(prefix+"known_hosts", &d.KnownHosts, "File with the key that its server shows, as in ~/.ssh/known_hosts; another is refused."),
	}
}

// oneWord is text without blanks and control characters.
func oneWord(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "1 to 255 printable characters without blanks",
		set:  func(text string) bool { *field = text; return true },
		show: func() string { return *field },
		valid: func() bool {
			return *field != "" && len(*field) <= 255 && !strings.ContainsFunc(*field, func(c rune) bool { return c <= ' ' || c == 0x7f })
		},
	}
}

// disagreements returns what is wrong with values that are each valid.
func (c *Courier) disagreements(report func(key, value, expected string)) {
	seen := make(map[int]bool)
	for i := range c.Deliveries {
		d := &c.Deliveries[i]
		if d.Member != 0 && seen[d.Member] {
			report(c.deliveryPrefix(i)+"member", strconv.Itoa(d.Member), "a member that no other item has")
		}
		seen[d.Member] = true
	}
	if c.Fetch.Address == "" {
		return
	}
	if c.Fetch.IdentityFile == "" {
		report("settlement.fetch_host_key", "", "a file, since settlement.fetch_address has a server")
	}
	if c.Fetch.Keys == "" {
		report("settlement.fetch_keys", "", "a folder, since settlement.fetch_address has a server")
	}
}
