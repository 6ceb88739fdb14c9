package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// furnishChunk is how many commands wait in the ledger's queue at once.
const furnishChunk = 30_000

// furnish fills the empty store in dir with the world: participants, conns
// terminals, accounts members with card, account and points. Where the issuer is at
// the end of a link, the accounts are its own and there are none here. It returns the
// last position of the journal. Nothing serves the store meanwhile, so that a million
// accounts take seconds.
func furnish(ctx context.Context, dir string, key *certs.CardKey, conns int, accounts uint64, link string, signing signers, clock Clock) (end points.Position, err error) {
	db, err := store.Open(store.Options{Dir: dir})
	if err != nil {
		return 0, err
	}
	l, err := openLedger(ctx, db, accounts, clock, nil)
	if err != nil {
		return 0, errors.Join(err, db.Close())
	}
	defer func() { err = errors.Join(err, l.Close(context.WithoutCancel(ctx))) }()
	if link != "" {
		accounts = 0
	}
	if err := enter(ctx, l, key, conns, accounts, link, signing, clock); err != nil {
		return 0, err
	}
	return l.Durable(), nil
}

// enter puts the world into a ledger.
func enter(ctx context.Context, l *ledger.Ledger, key *certs.CardKey, conns int, accounts uint64, link string, signing signers, clock Clock) error {
	f := furnisher{ledger: l, at: points.TimestampOf(clock()), link: link, signing: signing}
	if err := f.participants(ctx, conns); err != nil {
		return err
	}
	for first := uint64(1); first <= accounts; first += furnishChunk / 3 {
		var commands []book.Command
		for member := first; member <= min(accounts, first+furnishChunk/3-1); member++ {
			more, err := f.member(key, member)
			if err != nil {
				return err
			}
			commands = append(commands, more...)
		}
		if err := f.do(ctx, commands); err != nil {
			return err
		}
	}
	return nil
}

// openLedger opens the ledger over db with all accounts in memory; metrics may be nil.
func openLedger(ctx context.Context, db *store.Store, accounts uint64, clock Clock, metrics prometheus.Registerer) (*ledger.Ledger, error) {
	return ledger.Open(ctx, ledger.Options{
		Store: db, Accounts: int(accounts) + spareAccounts, Genesis: points.DateOf(clock()), GenesisAt: points.TimestampOf(clock()), //nolint:gosec // at most MaxAccounts.
		TraceDays: traceDays, Log: slog.New(slog.DiscardHandler), Registerer: metrics,
	})
}

const (
	// traceDays is what a switch remembers by default.
	traceDays = 8
	// spareAccounts are kept in memory beside the members': clearing and the like.
	spareAccounts = 1_000
)

// furnisher puts a world into a ledger.
type furnisher struct {
	ledger  *ledger.Ledger
	at      points.Timestamp
	link    string // to the issuer's own host; "": its ledger is here
	signing signers
}

// signers are terminals whose messages carry MACs, beside the others.
type signers struct {
	terminals int
	by        book.MAC
}

func (f *furnisher) put(entry book.Entry) book.Command {
	return book.Command{Kind: book.KindPut, At: f.at, Entry: entry}
}

func (f *furnisher) participants(ctx context.Context, conns int) error {
	merchant, err := points.ParseMerchantID(worldMerchant)
	if err != nil {
		return err
	}
	commands := []book.Command{
		f.put(book.Entry{Issuer: &book.Issuer{ID: worldIssuer, Name: "Issuer", Status: book.Active, Link: f.link}}),
		f.put(book.Entry{Acquirer: &book.Acquirer{ID: worldAcquirer, Name: "Acquirer", Status: book.Active}}),
		f.put(book.Entry{Program: &book.Program{
			ID: worldProgram, Issuer: worldIssuer, Name: "Points", Status: book.Active,
			// Limits are set, far away, so that they are looked at.
			Rules: book.ProgramRules{ValidMonths: 24, ExpiryAtMonth: true, OpenOnEarn: true, MaxRedeemDay: points.MaxAmount, MaxRedeemCnt: 1 << 31},
		}}),
		f.put(book.Entry{Merchant: &book.Merchant{
			ID: merchant, Acquirer: worldAcquirer, Name: "Merchant", Status: book.Active, Programs: []points.ProgramID{worldProgram},
		}}),
		f.put(book.Entry{Route: &book.Route{Prefix: cardPrefix}}),
	}
	for conn := range conns {
		id, err := worldTerminal(conn)
		if err != nil {
			return err
		}
		commands = append(commands, f.put(book.Entry{Terminal: &book.Terminal{ID: id, Merchant: merchant, Status: book.Active}}))
	}
	signed, err := signedEntries(f.signing.terminals, f.signing.by)
	if err != nil {
		return err
	}
	for _, entry := range signed {
		commands = append(commands, f.put(entry))
	}
	return f.do(ctx, commands)
}

// member is what makes one member: entry, card, and points, which open the account.
func (f *furnisher) member(key *certs.CardKey, member uint64) ([]book.Command, error) {
	pan, err := worldCard(member)
	if err != nil {
		return nil, err
	}
	id := points.MemberID(member)
	card := &book.Card{Masked: pan.Masked(), Member: id, Status: book.Active}
	key.Token(&card.Token, pan)
	merchant, err := points.ParseMerchantID(worldMerchant)
	if err != nil {
		return nil, err
	}
	return []book.Command{
		f.put(book.Entry{Member: &book.Member{ID: id, Status: book.Active}}),
		f.put(book.Entry{Card: card}),
		{Kind: book.KindEarn, At: f.at, Card: card.Token, Program: worldProgram, Amount: worldFunds, Acquirer: worldAcquirer, Merchant: merchant},
	}, nil
}

// do carries out commands and wants every one of them approved.
func (f *furnisher) do(ctx context.Context, commands []book.Command) error {
	var (
		mu    sync.Mutex // guards first
		first error
		open  sync.WaitGroup
	)
	asks := make([]ledger.Ask, len(commands))
	for i := range commands {
		asks[i] = ledger.Ask{Command: &commands[i], Done: func(out *book.Outcome) {
			if !out.Reason.Approved() {
				mu.Lock()
				if first == nil {
					first = points.Errorf(out.Reason, "bench: furnish, kind %v: %s", commands[i].Kind, out.Reason.English())
				}
				mu.Unlock()
			}
			open.Done()
		}}
	}
	open.Add(len(asks))
	f.ledger.SubmitAll(asks)
	finished := make(chan struct{})
	go func() { // Ends with the last answer; after a fault of the ledger, with the process.
		open.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return first
	case <-f.ledger.Failed():
		return f.ledger.Err()
	case <-ctx.Done():
		return fmt.Errorf("bench: furnish: %w", ctx.Err())
	}
}
