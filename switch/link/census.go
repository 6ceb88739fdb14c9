package link

import (
	"net"
	"net/netip"
	"time"
)

// mostLeaving is how many connections whose room was given away may be ending at a time.
const mostLeaving = 64

// timeToSpeak is how long a connection may be silent before its room is given away.
const timeToSpeak = time.Second

// sourcePrefix is the part of an IPv6 address that tells one subscriber from another.
const sourcePrefix = 64

// census counts the connections of a server by who has them, and knows those that have
// sent no frame yet. It is guarded by Server.mu.
type census struct {
	bySource   map[netip.Addr]int
	byIdentity map[string]int
	leaving    int // evicted and not ended yet

	oldest, newest *Conn // of the silent ones, in order of accepting
}

// sourceOf is the source that an address counts for; none for what is no IP address.
func sourceOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if addr.Is6() {
		prefix, err := addr.WithZone("").Prefix(sourcePrefix)
		if err != nil {
			return addr
		}
		return prefix.Addr()
	}
	return addr
}

// enter counts a connection that was accepted.
func (n *census) enter(c *Conn) {
	n.bySource[c.source]++
	c.silent, c.older = true, n.newest
	if n.newest != nil {
		n.newest.newer = c
	} else {
		n.oldest = c
	}
	n.newest = c
}

// speak takes a connection out of the silent ones.
func (n *census) speak(c *Conn) {
	if !c.silent {
		return
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		n.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		n.newest = c.older
	}
	c.silent, c.older, c.newer = false, nil, nil
}

// leave counts a connection that has ended.
func (n *census) leave(c *Conn) {
	n.speak(c)
	if n.bySource[c.source]--; n.bySource[c.source] == 0 {
		delete(n.bySource, c.source)
	}
	if c.counted {
		if n.byIdentity[c.identity]--; n.byIdentity[c.identity] == 0 {
			delete(n.byIdentity, c.identity)
		}
	}
	if c.evicted {
		n.leaving--
	}
}

// heard notes that c has sent a frame. A connection that was dialled has no server.
func (s *Server) heard(c *Conn) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.census.speak(c)
}

// identified counts a connection by who its peer is, or says that it is one too many.
func (s *Server) identified(c *Conn) error {
	if c.identity == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if most := s.opts.MaxPerIdentity; most > 0 && s.census.byIdentity[c.identity] >= most {
		return ErrTooManyOfIdentity
	}
	s.census.byIdentity[c.identity]++
	c.counted = true
	return nil
}
