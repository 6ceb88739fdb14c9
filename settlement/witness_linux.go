package settlement

import (
	"io/fs"
	"syscall"
	"time"
)

// markOf describes a file. It is false of what has no change time, or one in whole seconds,
// which two writes may share.
func markOf(info fs.FileInfo) (mark, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || stat.Ctim.Nsec == 0 {
		return mark{}, false
	}
	return mark{
		device: uint64(stat.Dev), inode: stat.Ino, size: info.Size(), //nolint:unconvert // 32 bits on some processors.
		changed: time.Duration(stat.Ctim.Nano()),
	}, true
}
