package evidence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// KeyringFromFiles reads public keys from PEM files.
func KeyringFromFiles(paths ...string) (Keyring, error) {
	var keys []signals.PublicKey
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		keys = append(keys, KeyFromFile(path, content))
	}
	return NewKeyring(keys...)
}

// Shown is one record's statement as it was signed, whatever it is worth.
type Shown struct {
	Key       string
	Statement []byte
	Signer    string
	Faults    []Fault
}

// Verdict says in a line what the statement is worth.
func (s Shown) Verdict() string {
	switch {
	case len(s.Faults) > 0:
		var kinds []string
		for _, f := range s.Faults {
			kinds = append(kinds, fmt.Sprintf("%s (%s)", f.Kind, f.Detail))
		}
		return "DO NOT BELIEVE: " + strings.Join(kinds, ", ")
	case s.Signer == "":
		return "not verified, no key was given"
	}
	return "signed by " + s.Signer
}

// Statements returns the statement under a key, or those at a place named as
// RELEASE/SEQUENCE. Without keys nothing is judged.
func Statements(ctx context.Context, src Source, name string, keys Keyring) ([]Shown, error) {
	prefix, err := locate(ctx, src, name)
	if err != nil {
		return nil, err
	}
	var found []Shown
	for f, err := range folders(src.List(ctx, releaseFolder(prefix))) {
		if err != nil {
			return nil, err
		}
		for _, all := range f.keys {
			if !strings.HasPrefix(all[0].Key, prefix) {
				continue
			}
			shown, err := show(ctx, src, all, keys)
			if err != nil {
				return nil, err
			}
			found = append(found, shown)
		}
	}
	if len(found) == 0 {
		return nil, &NotFoundError{fmt.Sprintf("no record %q", name)}
	}
	return found, nil
}

// locate is the prefix of the keys that a name stands for.
func locate(ctx context.Context, src Source, name string) (string, error) {
	if releaseFolder(name) != "" {
		return name, nil
	}
	release, place, _ := strings.Cut(name, "/")
	sequence, err := strconv.Atoi(place)
	if err != nil || sequence < 1 {
		return "", &NotFoundError{fmt.Sprintf("%q names no record; give a key, or RELEASE/SEQUENCE such as payments-api-prod-1/3", name)}
	}
	lane, err := Find(ctx, src, release)
	if err != nil {
		return "", err
	}
	return Key{Environment: lane.Environment, Service: lane.Service, Release: release, Sequence: sequence}.sequencePrefix(), nil
}

func show(ctx context.Context, src Source, all versions, keys Keyring) (Shown, error) {
	s := Shown{Key: all[0].Key}
	original, found := all.original()
	key, err := ParseKey(s.Key)
	if err != nil || !found {
		return s, errors.Join(err, &NotFoundError{"no record " + s.Key})
	}
	content, err := src.Read(ctx, original)
	if err != nil {
		return s, err
	}
	_, payload, err := Unseal(content.Body)
	if err != nil {
		return s, fmt.Errorf("%s: %w", s.Key, err)
	}
	s.Statement = payload
	if len(keys) > 0 {
		e := &entry{key: key}
		e.read(content.Body, keys) // what it finds is in the faults
		s.Signer, s.Faults = e.Signer, e.faults
	}
	return s, nil
}
