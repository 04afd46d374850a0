package evidence

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/signals"
)

// Root is the first folder of every record's key: the version of the layout.
const Root = "v1/"

// Key is the parsed name of a stored record. Digest is "sha256:<hex>" of the
// object's exact bytes, as the name claims it.
type Key struct {
	Environment string
	Service     string
	Release     string
	Sequence    int
	Kind        signals.RecordKind
	Digest      string
}

// Lane is a service in an environment; its text form is "environment/service".
type Lane struct {
	Environment string `json:"environment"`
	Service     string `json:"service"`
}

func (l Lane) String() string { return l.Environment + "/" + l.Service }

// Prefix is the folder of the lane's releases.
func (l Lane) Prefix() string { return Root + l.Environment + "/" + l.Service + "/" }

var keyForm = regexp.MustCompile(`^v1/([^/]+)/([^/]+)/([^/]+)/([0-9]{6,9})-([a-z]+(?:-[a-z]+)*)-([0-9a-f]{64})\.json$`)

// ParseKey reads an object's key; the error says what form is expected.
func ParseKey(key string) (Key, error) {
	m := keyForm.FindStringSubmatch(key)
	if m == nil {
		return Key{}, fmt.Errorf("key %q is not of the form v1/<environment>/<service>/<release>/<sequence>-<kind>-<sha256>.json", key)
	}
	sequence, err := strconv.Atoi(m[4])
	if err != nil || sequence < 1 {
		return Key{}, fmt.Errorf("key %q: sequence %q is not a number from 1", key, m[4])
	}
	k := Key{Environment: m[1], Service: m[2], Release: m[3], Sequence: sequence, Kind: signals.RecordKind(m[5]), Digest: "sha256:" + m[6]}
	if k.String() != key {
		return Key{}, fmt.Errorf("key %q: sequence %q is not written with six digits", key, m[4])
	}
	return k, nil
}

// String is the object's key.
func (k Key) String() string {
	return fmt.Sprintf("%s%s-%s.json", k.sequencePrefix(), k.Kind, strings.TrimPrefix(k.Digest, "sha256:"))
}

// Lane is the lane the record's release belongs to.
func (k Key) Lane() Lane { return Lane{k.Environment, k.Service} }

func (k Key) sequencePrefix() string {
	return fmt.Sprintf("%s%06d-", ReleasePrefix(k.Environment, k.Service, k.Release), k.Sequence)
}

// ref is the record that the key names.
func (k Key) ref(version string) signals.RecordRef {
	return signals.RecordRef{Sequence: k.Sequence, Kind: k.Kind, Key: k.String(), Version: version, Digest: k.Digest}
}

// ReleasePrefix is the folder of one release's records.
func ReleasePrefix(environment, service, release string) string {
	return Lane{environment, service}.Prefix() + release + "/"
}

// SequencePrefix is what the keys of all objects begin with that claim h's
// place in its release.
func SequencePrefix(h signals.RecordHeader) string {
	return Key{Environment: h.Environment, Service: h.Service, Release: h.Release, Sequence: h.Sequence}.sequencePrefix()
}

// KeyOf names the record with header h whose object is body.
func KeyOf(h signals.RecordHeader, kind signals.RecordKind, body []byte) Key {
	return Key{Environment: h.Environment, Service: h.Service, Release: h.Release, Sequence: h.Sequence, Kind: kind, Digest: signals.Digest(body)}
}

// releaseFolder is the folder of the release that an object lies in, "" if it
// lies elsewhere.
func releaseFolder(key string) string {
	parts := strings.SplitAfterN(key, "/", 5)
	if len(parts) < 5 {
		return ""
	}
	return strings.Join(parts[:4], "")
}
