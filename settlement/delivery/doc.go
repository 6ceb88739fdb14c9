// Package delivery brings file sets to members by SFTP, and lets members fetch theirs.
//
// A [Courier] carries files to a member's own server: into a folder that it makes, under
// a name that no one takes for the file, synced where the server can, and renamed when
// the size is right; the flag file <name>.ok comes last. A name that is there with other
// bytes is never overwritten; one with the same bytes is done. Each file is tried again
// by itself, with growing pauses, and no member waits for another's.
//
// A [Server] lets members fetch: public keys only, each in its own folder and nothing
// outside it, reading only, but for the acknowledgement <name>.ack, which is looked at
// before it is kept.
//
// It will not say which files are to be delivered, nor remember what was: the run does.
package delivery
