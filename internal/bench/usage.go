package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// usage is CPU time that two processes have used.
type usage struct {
	own, server time.Duration
}

func (u usage) since(earlier usage) usage {
	return usage{u.own - earlier.own, u.server - earlier.server}
}

// usageOf reads the CPU time of this process and of the process server, where
// that is not 0.
func usageOf(server int) (usage, error) {
	var used usage
	own, err := ownCPU()
	if err != nil {
		return used, err
	}
	used.own = own
	if server != 0 {
		used.server, err = cpuOf(server)
	}
	return used, err
}

// ownCPU is the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0, fmt.Errorf("bench: CPU time: %w", err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), nil
}

// clockTick is the unit of the CPU times in /proc, which has been 10 ms on every
// Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuOf is the CPU time of a process, from Linux's /proc/PID/stat (proc(5): fields
// 14 and 15).
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("bench: CPU time of the other side: %w", err)
	}
	// The command's name, field 2, is in parentheses and may hold anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("bench: /proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks uint64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("bench: /proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil //nolint:gosec // years of CPU time fit.
}

// procField reads a number behind a name in a file of /proc/PID, such as io or
// status.
func procField(pid int, file, name string) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	_, rest, found := bytes.Cut(text, []byte("\n"+name+":"))
	if !found {
		return 0, fmt.Errorf("bench: /proc/%d/%s has no %s", pid, file, name)
	}
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("bench: /proc/%d/%s has nothing behind %s", pid, file, name)
	}
	n, err := strconv.ParseUint(string(fields[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("bench: /proc/%d/%s: %w", pid, file, err)
	}
	return n, nil
}
