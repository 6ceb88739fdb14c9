package store

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// written counts the bytes of tables by how they came and whose keys are in them:
// what is written twice shows where it comes from.
type written struct {
	bytes [byCount][ofCount]atomic.Uint64
}

// How a table came.
const (
	byFlush = iota
	byCompaction
	byIngest
	byCount
)

// Whose keys are in a table; of more than one owner it is mixed.
const (
	ofJournal = iota
	ofState
	ofIndex
	ofMixed
	ofCount
)

var (
	waysNamed   = [byCount]string{byFlush: "flush", byCompaction: "compaction", byIngest: "ingest"}
	ownersNamed = [ofCount]string{ofJournal: "journal", ofState: "state", ofIndex: "index", ofMixed: "mixed"}
)

func (w *written) tables(way int, tables []pebble.TableInfo) {
	for i := range tables {
		t := &tables[i]
		w.add(way, t.Smallest.UserKey, t.Largest.UserKey, t.Size)
	}
}

// add counts a table of size bytes from its first to its last key.
func (w *written) add(way int, first, last []byte, size uint64) {
	owner := ownerOf(first)
	if ownerOf(last) != owner {
		owner = ofMixed
	}
	w.bytes[way][owner].Add(size)
}

func ownerOf(key []byte) int {
	if len(key) == 0 {
		return ofMixed
	}
	switch Prefix(key[0]) {
	case Journal:
		return ofJournal
	case State, Checkpoint:
		return ofState
	case Index:
		return ofIndex
	default:
		return ofMixed
	}
}

var tableBytes = prometheus.NewDesc("lianfen_store_table_bytes_total",
	"Bytes written to the store's tables, by how they came and whose keys are in them.", []string{"by", "of"}, nil)

func (w *written) collect(counter func(desc *prometheus.Desc, value float64, labels ...string)) {
	for way, owners := range waysNamed {
		for owner, of := range ownersNamed {
			counter(tableBytes, float64(w.bytes[way][owner].Load()), owners, of)
		}
	}
}
