package store

import (
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// logger passes on what Pebble says. Its own chatter is for debugging.
type logger struct {
	log  *slog.Logger
	exit func(code int)
}

var _ pebble.Logger = logger{}

// Infof is for debugging.
func (l logger) Infof(format string, args ...any) {
	l.log.Debug("store", slog.String("says", fmt.Sprintf(format, args...)))
}

// Errorf is for now.
func (l logger) Errorf(format string, args ...any) {
	l.log.Error("store", slog.String("says", fmt.Sprintf(format, args...)))
}

// Fatalf is called when the log can no longer be synced: nothing that is written
// from here on would be safe, so the process ends.
func (l logger) Fatalf(format string, args ...any) {
	l.log.Error("store cannot go on; the process ends", slog.String("says", fmt.Sprintf(format, args...)), slog.Int("exit", ExitStoreFault))
	l.exit(ExitStoreFault)
	panic("store: Options.Exit returned") //nolint:forbidigo // going on would lose what was answered.
}

// events passes on what happens, and counts in written.
func (l logger) events(written *written) *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			l.log.Error("store: work in the background fails; free disk space or mend the disk", slog.String("error", err.Error()))
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			l.log.Warn("store: the disk is slow", slog.String("file", info.Path), slog.Duration("took", info.Duration))
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			l.log.Error("store: a file is damaged", slog.String("file", info.Path), slog.String("error", info.Details.Error()))
		},
		FlushEnd: func(info pebble.FlushInfo) {
			if !info.Ingest { // Else [Store.Ingest] has counted.
				written.tables(byFlush, info.Output)
			}
			l.Infof("%s", info)
		},
		CompactionEnd: func(info pebble.CompactionInfo) {
			if info.Reason != "move" {
				written.tables(byCompaction, info.Output.Tables)
			}
			l.Infof("%s", info)
		},
		TableIngested: func(info pebble.TableIngestInfo) { l.Infof("%s", info) },
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			l.log.Warn("store: writing waits for compactions", slog.String("why", info.Reason))
		},
	}
}

// collector shows Pebble's own figures.
type collector struct {
	db      *pebble.DB
	written *written
}

var (
	walBytes = prometheus.NewDesc("lianfen_store_wal_bytes_total", "Bytes written to the store's log.", nil, nil)
	diskUsed = prometheus.NewDesc("lianfen_store_disk_bytes", "Bytes that the store takes on disk.", nil, nil)
	level0   = prometheus.NewDesc("lianfen_store_read_amplification", "Tables that a read may have to look into.", nil, nil)
	cacheHit = prometheus.NewDesc("lianfen_store_cache_reads_total", "Blocks looked for in the cache, by result.", []string{"result"}, nil)
)

// Describe tells the figures' names.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{walBytes, tableBytes, diskUsed, level0, cacheHit} {
		out <- desc
	}
}

// Collect reads the figures.
func (c collector) Collect(out chan<- prometheus.Metric) {
	m := c.db.Metrics()
	counter := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value, labels...)
	}
	counter(walBytes, float64(m.WAL.BytesWritten))
	c.written.collect(counter)
	counter(cacheHit, float64(m.BlockCache.Hits), "hit")
	counter(cacheHit, float64(m.BlockCache.Misses), "miss")
	out <- prometheus.MustNewConstMetric(diskUsed, prometheus.GaugeValue, float64(m.DiskSpaceUsage()))
	out <- prometheus.MustNewConstMetric(level0, prometheus.GaugeValue, float64(m.ReadAmp()))
}
