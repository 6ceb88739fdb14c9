// Package files owns what a partner gets of a settled business date: the formats of
// the file set, how each is written and how it is read again. A set is of one member
// in one cycle of a date:
//
//	QZ_DET_<member>_<role>_...txt   every item, fixed width, one set of parts for each role
//	QZ_DET_<member>_<role>_...csv   the same items for spreadsheets
//	QZ_NET_<member>_M_...csv        the net positions
//	QZ_STM_<member>_M_...xml        the statement, ISO 20022 camt.053.001.08
//	QZ_NTF_<member>_M_...xml        adjustments, camt.054.001.08
//	QZ_EXC_<member>_M_...csv        what was not cleared, and why
//	day.journal                     the positions for hledger
//	statement.html                  the statement for people, Chinese and English
//	SHA256SUMS, SHA256SUMS.sig      what all of it hashes to, signed
//
// It promises that the same values give the same bytes; that a layout is one Go value
// from which lines are written, lines are read and the documents are made; that what
// does not fit its field is refused and never cut; and that [Verify] takes nothing
// from the writer on trust: it reads the bytes again and computes every line, every
// total and every digest from them.
//
// It opens no file and no connection: it writes to an io.Writer and reads from an
// io.Reader or fs.FS. Where files lie, when they are synced and renamed is the run's
// business, how they travel that of package delivery.
package files
