package pointswitch

import (
	"context"
	"log/slog"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// provedBy is who has proved to have a version of its master key: a terminal has one at
// each merchant that it was ever put up at.
type provedBy struct {
	merchant points.MerchantID
	terminal points.TerminalID
}

// proves remembers what the journal says that a terminal has proved. It only grows.
func (r *keyring) proves(terminal *book.Terminal, version uint32) {
	by := provedBy{terminal.Merchant, terminal.ID}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proved[by] = max(r.proved[by], version)
}

// hasProved is the version that a terminal has proved; of one that was elsewhere when the
// process began the journal tells.
func (s *Switch) hasProved(terminal *book.Terminal) (version uint32, err error) {
	s.keys.mu.RLock()
	version, known := s.keys.proved[provedBy{terminal.Merchant, terminal.ID}]
	s.keys.mu.RUnlock()
	if known {
		return version, nil
	}
	err = s.opts.Ledger.View(context.Background(), func(b *book.Book) error {
		merchant := b.Registry().Merchants[terminal.Merchant]
		if merchant == nil {
			return nil
		}
		keys, err := b.Keys(merchant.Acquirer, terminal.Merchant, terminal.ID)
		version = keys.Master
		return err
	})
	if err == nil {
		s.keys.proves(terminal, version)
	}
	return version, err
}

// masters are the master key of a terminal that is in force, and the one that is on offer
// to it, nil where there is none.
func (s *Switch) masters(terminal *book.Terminal) (current, offered *certs.Key, err error) {
	if s.keys.store == nil {
		return nil, nil, errNoKeystore
	}
	proved, err := s.hasProved(terminal)
	if err != nil {
		return nil, nil, err
	}
	return s.keys.store.Master(terminal.Merchant, terminal.ID, proved, s.opts.Clock())
}

// proof looks at the MAC of a terminal's sign-on, which is by its master key, where there is
// one: that is how the terminal proves that it has the key on offer. One that is
// there is right, or the sign-on is refused.
func (s *Switch) proof(x *exchange, frame []byte) points.Reason {
	terminal := x.acceptor.Terminal
	if terminal.DUKPT != (book.InitialKey{}) || (!x.req.Has(64) && !x.req.Has(128)) {
		return points.Approved
	}
	current, offered, err := s.masters(terminal)
	if err != nil && offered == nil {
		s.logNoMaster(terminal, err)
		return s.notAuthentic(macNoKeys)
	}
	signed := x.session.listener.dialect.Signed(frame, &x.req)
	for _, master := range []*certs.Key{offered, current} {
		if master == nil {
			continue
		}
		by, err := certs.NewProof(master)
		if err != nil {
			s.logNoMaster(terminal, err)
			return s.notAuthentic(macNoKeys)
		}
		if by.Verify(signed, x.req.MAC[:]) {
			x.master, x.keys = master, &workingKeys{mac: by} // The answer proves the switch, too.
			return points.Approved
		}
	}
	return s.notAuthentic(macWrong)
}

func (s *Switch) logNoMaster(terminal *book.Terminal, err error) {
	s.opts.Log.Warn("a terminal cannot have keys: it has no master key", slog.String("terminal", terminal.ID.String()), slog.String("error", err.Error()))
}

// nextMaster hands a terminal the master key that is on offer to it, under the one that it
// has. Nothing has changed by that: who asks again gets the same, and the key is in force
// when the terminal signs on with a MAC by it ([Switch.proof]).
func (s *Switch) nextMaster(x *exchange) points.Reason {
	terminal := x.acceptor.Terminal
	if terminal.MAC == 0 || terminal.DUKPT != (book.InitialKey{}) {
		return points.FunctionDisabled
	}
	current, offered, err := s.masters(terminal)
	switch {
	case err != nil:
		s.logNoMaster(terminal, err)
		return points.FunctionDisabled
	case offered == nil:
		return points.NoKeyReady
	}
	block, err := certs.AppendMasterBlock(nil, offered, current)
	if err != nil {
		s.opts.Log.Error("the next master key of a terminal cannot be handed to it", slog.String("terminal", terminal.ID.String()), slog.String("error", err.Error()))
		return points.InternalError
	}
	s.opts.Log.Info("a terminal was handed its next master key", slog.String("terminal", terminal.ID.String()), slog.Uint64("version", uint64(offered.Version)), slog.String("kcv", offered.Check.String()))
	x.resp.List = string(block)
	return points.Approved
}
