// Package catalog reads the catalog: which services there are, who owns them,
// whose signatures count for their images, and how each environment is released
// to. It is one YAML file per service in one folder, read strictly: a field that
// is misspelt or a value that can't work is an error before any release is, and
// all faults of all files are listed at once.
package catalog
