package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lianfen/lianfen/switch/dialect"
)

// Attack is what hostile connections are to do.
type Attack struct {
	Address  string        `json:"address"`
	Dialect  string        `json:"dialect"`
	Conns    int           `json:"conns"`  // that try, in all
	Floods   int           `json:"floods"` // of them, each sending valid requests all the time
	Flood    int           `json:"flood"`  // requests a second that each of the floods sends
	Sources  int           `json:"sources"`
	Duration time.Duration `json:"duration"`
	Seed     uint64        `json:"seed"`
}

// Attacked is what they met, by how they attack.
type Attacked struct {
	Connected map[string]uint64 `json:"connected"`
	Refused   uint64            `json:"refused"` // no connection at all
	Frames    uint64            `json:"frames"`  // of the floods
	Answers   uint64            `json:"answers"` // to them
}

// Ways to attack; see the functions of their names.
const (
	attackRandom    = "random bytes"
	attackHalf      = "half a frame"
	attackDrip      = "a byte a second"
	attackSilent    = "nothing at all"
	attackReset     = "connect and reset"
	attackMalformed = "malformed frames"
	attackDeaf      = "never reads"
	attackFlood     = "flood of valid frames"
)

// pauseBetween is how long an attacker waits before it connects again, so that it is the
// switch that is measured and not the machine's connecting.
const pauseBetween = 5 * time.Second

// floodEvery is how often a flood sends.
const floodEvery = 10 * time.Millisecond

type attacker struct {
	Attack

	frame     []byte // a valid request, behind its length
	malformed []byte // answered 30 or not at all
	seen      map[string]*atomic.Uint64
	refused   atomic.Uint64
	frames    atomic.Uint64
	answers   atomic.Uint64
}

// Hostile attacks until the time is over.
func Hostile(ctx context.Context, a Attack) (Attacked, error) {
	spoken, err := dialect.ByName(a.Dialect)
	if err != nil {
		return Attacked{}, err
	}
	form, err := newRequestForm(spoken, 0, false)
	if err != nil {
		return Attacked{}, err
	}
	t := &attacker{Attack: a, seen: make(map[string]*atomic.Uint64)}
	t.frame = binary.BigEndian.AppendUint16(nil, uint16(len(form.frame))) //nolint:gosec // at most dialect.MaxFrame.
	t.frame = append(t.frame, form.frame...)
	t.malformed = append([]byte(nil), t.frame...)
	for i := len(t.malformed) - 20; i < len(t.malformed); i++ {
		t.malformed[i] = 0xff
	}
	ways := []struct {
		name string
		do   func(context.Context, net.Conn, *rand.Rand) error
	}{
		{attackRandom, t.random},
		{attackHalf, t.half},
		{attackDrip, t.drip},
		{attackSilent, t.silent},
		{attackReset, t.reset},
		{attackMalformed, t.malform},
		{attackDeaf, t.deaf},
		{attackFlood, t.flood},
	}
	for _, way := range ways {
		t.seen[way.name] = new(atomic.Uint64)
	}
	ctx, cancel := context.WithTimeout(ctx, a.Duration)
	defer cancel()
	var all sync.WaitGroup
	for i := range a.Conns {
		way := ways[i%(len(ways)-1)]
		if i < a.Floods {
			way = ways[len(ways)-1]
		}
		random := rand.New(rand.NewPCG(a.Seed, uint64(i))) //nolint:gosec // load, not secrets.
		all.Go(func() {
			// Not all in one instant, which no network would bring.
			pause := time.Duration(random.Int64N(int64(min(pauseBetween, a.Duration/4) + 1)))
			for until(ctx, pause) == nil {
				t.once(ctx, i, way.name, way.do, random)
				pause = pauseBetween
			}
		})
	}
	all.Wait()
	seen := Attacked{Connected: make(map[string]uint64), Refused: t.refused.Load(), Frames: t.frames.Load(), Answers: t.answers.Load()}
	for name, count := range t.seen {
		seen.Connected[name] = count.Load()
	}
	return seen, nil
}

// once is one connection from beginning to end. What it meets is the switch's affair: it
// is there to be refused, and only counts.
func (t *attacker) once(ctx context.Context, number int, name string, do func(context.Context, net.Conn, *rand.Rand) error, random *rand.Rand) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+number%t.Sources))}} //nolint:gosec // Sources is below 200.
	conn, err := dialer.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		t.refused.Add(1)
		return
	}
	hangUp := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer hangUp()
	t.seen[name].Add(1)
	_ = do(ctx, conn, random) // As said above.
	_ = conn.Close()
}

// random sends what no dialect is, until it is thrown out.
func (t *attacker) random(ctx context.Context, conn net.Conn, random *rand.Rand) error {
	for ctx.Err() == nil {
		junk := make([]byte, 200)
		for i := range junk {
			junk[i] = byte(random.Uint32()) //nolint:gosec // any byte will do.
		}
		if _, err := conn.Write(junk); err != nil {
			return err
		}
		if err := until(ctx, time.Second); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// half begins a frame and waits.
func (t *attacker) half(_ context.Context, conn net.Conn, _ *rand.Rand) error {
	_, err := conn.Write(t.frame[:len(t.frame)/2])
	return errors.Join(err, drainOf(conn))
}

// drip sends a byte a second.
func (t *attacker) drip(ctx context.Context, conn net.Conn, _ *rand.Rand) error {
	for i := 0; ; i++ {
		if _, err := conn.Write(t.frame[i%len(t.frame) : i%len(t.frame)+1]); err != nil {
			return err
		}
		if err := until(ctx, time.Second); err != nil {
			return err
		}
	}
}

// silent sends nothing.
func (t *attacker) silent(_ context.Context, conn net.Conn, _ *rand.Rand) error { return drainOf(conn) }

// reset hangs up without a goodbye.
func (t *attacker) reset(_ context.Context, conn net.Conn, _ *rand.Rand) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("bench: a connection of type %T", conn)
	}
	_, err := conn.Write(t.frame[:1])
	return errors.Join(err, tcp.SetLinger(0))
}

// malform sends frames that cannot be read until it is thrown out.
func (t *attacker) malform(ctx context.Context, conn net.Conn, _ *rand.Rand) error {
	for ctx.Err() == nil {
		if _, err := conn.Write(t.malformed); err != nil {
			return err
		}
		if err := until(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// deaf asks and does not read what is answered.
func (t *attacker) deaf(ctx context.Context, conn net.Conn, _ *rand.Rand) error {
	for ctx.Err() == nil {
		if _, err := conn.Write(t.frame); err != nil {
			return err
		}
		if err := until(ctx, time.Second); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// flood sends valid requests without a pause for breath, and reads the answers.
func (t *attacker) flood(ctx context.Context, conn net.Conn, _ *rand.Rand) error {
	var reading sync.WaitGroup
	defer reading.Wait()
	defer func() { _ = conn.Close() }()
	reading.Go(func() {
		var prefix [prefixSize]byte
		for {
			if _, err := io.ReadFull(conn, prefix[:]); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(prefix[:]))); err != nil {
				return
			}
			t.answers.Add(1)
		}
	})
	frames := max(1, int(time.Duration(t.Flood)*floodEvery/time.Second))
	burst := bytes.Repeat(t.frame, frames)
	tick := time.NewTicker(floodEvery)
	defer tick.Stop()
	for {
		if _, err := conn.Write(burst); err != nil {
			return err
		}
		t.frames.Add(uint64(frames))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drainOf reads until the other end has had enough.
func drainOf(conn net.Conn) error {
	_, err := io.Copy(io.Discard, conn)
	return err
}
