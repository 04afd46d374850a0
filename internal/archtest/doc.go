// Package archtest holds the test of the import direction
// (signals ← activities ← workflows ← cmd). It has no code of its own: the rules
// are about what the other packages pull in, directly or not.
package archtest
