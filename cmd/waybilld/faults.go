package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// faults collects what is wrong with a configuration.
type faults struct{ list []error }

func (f *faults) add(format string, args ...any) {
	f.list = append(f.list, fmt.Errorf(format, args...))
}

func (f *faults) need(value, field, what string) {
	if value == "" {
		f.add("%s: missing; want %s", field, what)
	}
}

func (f *faults) url(value, field string) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		f.add("%s %q: want an http or https URL", field, value)
	}
}

func (f *faults) keys(field string, keys []KeyConfig) {
	if len(keys) == 0 {
		f.add("%s: want at least one public key", field)
	}
	for i, k := range keys {
		f.need(k.ID, fmt.Sprintf("%s[%d].id", field, i), "the key's id")
		f.need(k.PublicKey, fmt.Sprintf("%s[%d].publicKey", field, i), "the path of a PEM file")
		if !k.NotBefore.IsZero() && !k.NotAfter.IsZero() && !k.NotBefore.Before(k.NotAfter) {
			f.add("%s[%d].notAfter %s: want a time after notBefore", field, i, k.NotAfter.Format(time.RFC3339))
		}
	}
}

func join(roles []Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}
