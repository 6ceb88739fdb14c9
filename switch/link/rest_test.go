package link

import (
	"bytes"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// mirror answers every frame with itself.
type mirror struct{}

func (mirror) Open(*Conn) {}

func (mirror) Frames(c *Conn, frames [][]byte) {
	for _, frame := range frames {
		c.Reply(func(dst []byte) []byte { return append(dst, frame...) })
	}
}

func (mirror) Closed(*Conn, error) {}

// A connection that was busy holds no more than one that never was, once it has
// been quiet for restAfter; it goes on afterwards.
func TestGrownBuffersAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts, err := Options{}.complete()
		require.NoError(t, err)
		peer, socket := net.Pipe()
		c := newConn(1, socket, opts, mirror{})
		c.open()
		go c.run()
		sizes := func() []int {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return []int{len(c.in.buf), cap(c.frames), cap(c.out), cap(c.spare)}
		}
		request := bytes.Repeat(stream(make([]byte, 1000)), 200)
		exchange := func() {
			go func() {
				if _, err := peer.Write(request); err != nil {
					t.Error(err)
				}
			}()
			for got := 0; got < len(request); {
				n, err := peer.Read(make([]byte, 64<<10))
				require.NoError(t, err)
				got += n
			}
		}
		exchange()
		require.Greater(t, sizes()[0], restingBuffer)
		<-time.After(restAfter - 1)
		require.Greater(t, sizes()[0], restingBuffer)
		<-time.After(1)
		require.Equal(t, []int{restingBuffer, 0, 0, 0}, sizes())
		exchange()
		c.CloseAfterFlush(nil)
		<-c.Done()
		require.NoError(t, peer.Close())
	})
}
