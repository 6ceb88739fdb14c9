package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Program is how the program that measures starts itself again.
type Program struct {
	Path string   // of the executable
	Name string   // its argument 0
	Env  []string // of the children; nil: this process's
}

// Child is a process that Program was started as. When this process goes, however
// it goes, the child is killed.
type Child struct {
	name string
	cmd  *exec.Cmd
	log  *os.File // what it says
	done chan struct{}
	err  error // of Wait; to be read once done is closed
}

// InheritedFD is the file descriptor under which a child finds what it inherits.
const InheritedFD = 3

// start starts a child that runs until it is stopped or ctx ends; its words go to the file log.
// It inherits a file, where that is not nil, as [InheritedFD].
func (p Program) start(ctx context.Context, name, log string, inherit *os.File, args ...string) (*Child, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("bench: log of %s: %w", name, err)
	}
	c := &Child{name: name, log: file, done: make(chan struct{})}
	c.cmd = p.command(ctx, args)
	c.cmd.Stdout, c.cmd.Stderr = file, file
	if inherit != nil {
		c.cmd.ExtraFiles = []*os.File{inherit}
	}
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: start %s: %w", name, err), file.Close())
	}
	go func() { // Ends with the process, which stop and kill wait for.
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

func (p Program) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Path, args...) //nolint:gosec // this program itself.
	cmd.Args[0], cmd.Env = p.Name, p.Env
	dieWithParent(cmd)
	return cmd
}

// PID is the child's process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// ended is closed when the child has ended.
func (c *Child) ended() <-chan struct{} { return c.done }

// failure tells how the child ended, in its own words.
func (c *Child) failure() error {
	how := "it ended"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("bench: %s: %s; it said:\n%s", c.name, how, c.lastWords())
}

// lastWords is the end of what the child said.
func (c *Child) lastWords() string {
	const most = 4 << 10
	text, err := os.ReadFile(c.log.Name())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

// warnings counts the warnings and errors in the child's log, and returns the last.
func (c *Child) warnings() (count int, last string) {
	text, err := os.ReadFile(c.log.Name())
	if err != nil {
		return 1, err.Error()
	}
	for line := range strings.Lines(string(text)) {
		// A progress bar may stand on the same line, in front.
		at := strings.LastIndex(line, "time=")
		if at >= 0 && (strings.Contains(line[at:], " level=WARN ") || strings.Contains(line[at:], " level=ERROR ")) {
			count, last = count+1, strings.TrimSpace(line[at:])
		}
	}
	return count, last
}

// said waits until the child says prefix, and returns the word behind it.
func (c *Child) said(ctx context.Context, prefix string) (string, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(c.log.Name())
		if err != nil {
			return "", fmt.Errorf("bench: log of %s: %w", c.name, err)
		}
		if _, rest, found := bytes.Cut(text, []byte(prefix)); found && bytes.ContainsAny(rest, " \n") {
			return string(bytes.Fields(rest)[0]), nil
		}
		select {
		case <-tick.C:
		case <-c.done:
			return "", c.failure()
		case <-ctx.Done():
			return "", fmt.Errorf("bench: %s is not ready: %w", c.name, ctx.Err())
		}
	}
}

// stopTime is how long a child may take to stop once it was asked to.
const stopTime = time.Minute

// stop asks the child to stop, and wants it to end in order.
func (c *Child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("bench: stop %s: %w", c.name, err)
	}
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		return errors.Join(fmt.Errorf("bench: %s does not stop", c.name), c.kill())
	}
	if c.err != nil {
		return errors.Join(c.failure(), c.log.Close())
	}
	return c.close()
}

// kill ends the child where it stands, as a power cut would, and waits for it.
func (c *Child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("bench: kill %s: %w", c.name, err)
	}
	<-c.done
	return c.close()
}

func (c *Child) close() error {
	if err := c.log.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("bench: log of %s: %w", c.name, err)
	}
	return nil
}

// ask runs a child to its end, with in as JSON on its standard input, and reads out
// as JSON from its standard output.
func (p Program) ask(ctx context.Context, name string, in, out any, args ...string) error {
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("bench: %s: %w", name, err)
	}
	cmd := p.command(ctx, args)
	var said, diagnosis bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &said, &diagnosis
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("bench: %s: %w; it said:\n%s", name, err, strings.TrimSpace(diagnosis.String()))
	}
	if err := json.Unmarshal(said.Bytes(), out); err != nil {
		return fmt.Errorf("bench: %s: %w", name, err)
	}
	return nil
}
