package sim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Fault is one thing that goes wrong between an issuer and whoever asks it.
type Fault uint8

// Faults. All but FaultLose happen to the answer: the request was carried out.
const (
	FaultDelay       Fault = iota + 1 // the answer takes its time, and still comes in time
	FaultLose                         // the request never arrives, and is not carried out
	FaultDrop                         // the answer never arrives
	FaultLate                         // the answer arrives when nobody waits for it any more
	FaultWrongAmount                  // the answer names another amount (DE4) than was asked for
	FaultDisconnect                   // the connection ends in the middle of the answer
	FaultDuplicate                    // the answer arrives twice
	FaultForge                        // the MAC of the answer is wrong

	faultCount
)

var faultNames = [faultCount]string{
	FaultDelay: "delay", FaultLose: "lose", FaultDrop: "drop", FaultLate: "late",
	FaultWrongAmount: "wrong-amount", FaultDisconnect: "disconnect", FaultDuplicate: "duplicate", FaultForge: "forge",
}

// String returns the fault's name on the command line and in JSON.
func (f Fault) String() string {
	if f == 0 || f >= faultCount {
		return fmt.Sprintf("fault(%d)", uint8(f))
	}
	return faultNames[f]
}

// waits reports whether the fault is one of time, and therefore needs one.
func (f Fault) waits() bool { return f == FaultDelay || f == FaultLate }

// FaultNames lists the names of all faults, for help texts and completion.
func FaultNames() []string { return append([]string{}, faultNames[1:]...) }

// million is what rates are counted in.
const million = 1_000_000

// FaultRate says how often a fault happens.
type FaultRate struct {
	Fault      Fault
	PerMillion int           // of the messages that move or tell points
	After      time.Duration // of FaultDelay and FaultLate: how long the answer is kept back
}

// Faults is what goes wrong, and how often. A message meets one fault at most, so
// the rates sum to 100 % or less.
type Faults []FaultRate

// ParseFaults reads "delay=5%:3s,drop=1%,late=0.5%:20s". No text is no fault.
func ParseFaults(text string) (Faults, error) {
	var faults Faults
	sum := 0
	for item := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		rate, err := parseFault(strings.TrimSpace(item))
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w", item, err)
		}
		sum += rate.PerMillion
		faults = append(faults, rate)
	}
	if sum > million {
		return nil, fmt.Errorf("faults %q: more than 100%% of the messages", text)
	}
	return faults, nil
}

func parseFault(item string) (rate FaultRate, err error) {
	name, value, _ := strings.Cut(item, "=")
	for f := FaultDelay; f < faultCount; f++ {
		if faultNames[f] == name {
			rate.Fault = f
		}
	}
	if rate.Fault == 0 {
		return rate, fmt.Errorf("no such fault; there are %s", strings.Join(FaultNames(), ", "))
	}
	percent, after, timed := strings.Cut(value, ":")
	number, ok := strings.CutSuffix(percent, "%")
	share, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(share >= 0 && share <= 100) {
		return rate, fmt.Errorf("rate %q, want a percentage from 0%% to 100%%", percent)
	}
	rate.PerMillion = int(share*(million/100) + 0.5)
	if timed != rate.Fault.waits() {
		return rate, fmt.Errorf("want %s=5%%:3s with a time for delay and late only", name)
	}
	if !timed {
		return rate, nil
	}
	if rate.After, err = time.ParseDuration(after); err != nil || rate.After <= 0 {
		return rate, fmt.Errorf("time %q, want one such as 3s", after)
	}
	return rate, nil
}

// draw returns what happens to the next message; the zero rate is nothing.
func (f Faults) draw(chance *rand.Rand) FaultRate {
	if len(f) == 0 {
		return FaultRate{}
	}
	n := chance.IntN(million)
	for _, rate := range f {
		if n -= rate.PerMillion; n < 0 {
			return rate
		}
	}
	return FaultRate{}
}
