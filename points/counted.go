package points

import "fmt"

// Counted is a number of things in words: one of them, or many (0 is many). What follows from the
// number, such as a verb, belongs to both words.
func Counted[N ~int | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
