package activities_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/waybill-dev/waybill/activities"
	setup "github.com/waybill-dev/waybill/deploy/objectlock"
	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/evidence/evidencetest"
	"github.com/waybill-dev/waybill/internal/objectlock"
	"github.com/waybill-dev/waybill/internal/objectlock/s3test"
	"github.com/waybill-dev/waybill/signals"
)

const evidenceBucket = "waybill-evidence"

var prodLane = evidence.Lane{Environment: "prod", Service: "payments-api"}

// office is a notary on a real bucket.
type office struct {
	t       *testing.T
	server  s3test.Server
	store   *objectlock.Writer
	signer  *evidence.LocalSigner
	private []byte
	gateway *evidence.LocalSigner
	notary  *activities.Notary
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, server: s3test.Start(t)}
	s3test.As(t, s3test.Owner)
	require.NoError(t, objectlock.Provision(t.Context(), o.server.Config(evidenceBucket), setup.LocalRetention,
		setup.LocalPolicy(evidenceBucket, s3test.Notary, s3test.Auditor)))
	s3test.As(t, s3test.Notary)
	var err error
	o.store, err = objectlock.NewWriter(t.Context(), o.server.Config(evidenceBucket), "COMPLIANCE")
	require.NoError(t, err)
	o.signer, o.private = evidencetest.Signer(t, "evidence-1")
	o.gateway, _ = evidencetest.Signer(t, "gateway-1")
	o.notary = o.with(o.signer, o.store)
	return o
}

func (o *office) with(signer evidence.Signer, store activities.RecordStore) *activities.Notary {
	o.t.Helper()
	n, err := activities.NewNotary(signer, store, time.Hour)
	require.NoError(o.t, err)
	return n
}

// tell returns the records of a release in their places, less the last few.
func (o *office) tell(release string) ([]signals.RecordInput, signals.Outcome) {
	return evidencetest.Tell(o.t, evidencetest.Scenario{Lane: prodLane, Release: release, Begin: time.Now(), Bad: true, Gateway: o.gateway})
}

// write has the notary write records one after another.
func (o *office) write(inputs []signals.RecordInput) []signals.RecordRef {
	o.t.Helper()
	var refs []signals.RecordRef
	for _, in := range inputs {
		out, err := o.notary.WriteRecord(o.t.Context(), place(in, refs))
		require.NoError(o.t, err)
		refs = append(refs, out.Ref)
	}
	return refs
}

// place puts a record behind others.
func place(in signals.RecordInput, refs []signals.RecordRef) signals.RecordInput {
	in.Header.Sequence = len(refs) + 1
	if len(refs) > 0 {
		in.Header.Previous = refs[len(refs)-1].Digest
	}
	return in
}

func (o *office) manifest(inputs []signals.RecordInput, refs []signals.RecordRef, outcome signals.Outcome, previous *signals.RecordRef) signals.RecordInput {
	in := inputs[len(inputs)-1]
	in.Kind = signals.RecordManifest
	in.Predicate = evidencetest.Predicate(o.t, signals.ManifestPredicate{Outcome: outcome, Count: len(refs), Records: refs, Previous: previous})
	return place(in, refs)
}

func (o *office) verify() evidence.Report {
	o.t.Helper()
	r, err := evidence.Verify(o.t.Context(), o.store.Reader, evidence.Options{
		Keys: evidencetest.Keyring(o.t, o.signer), Now: time.Now(), OpenWithin: time.Hour, Retention: time.Hour, LockMode: "COMPLIANCE",
	})
	require.NoError(o.t, err)
	return r
}

// foreign writes an object as the owner of the bucket can.
func (o *office) foreign(key string, body []byte) {
	o.t.Helper()
	s3test.As(o.t, s3test.Owner)
	defer s3test.As(o.t, s3test.Notary)
	c, err := config.LoadDefaultConfig(o.t.Context(), config.WithRegion("us-east-1"))
	require.NoError(o.t, err)
	client := s3.NewFromConfig(c, func(opt *s3.Options) { opt.BaseEndpoint, opt.UsePathStyle = &o.server.URL, true })
	bucket := evidenceBucket
	_, err = client.PutObject(o.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	require.NoError(o.t, err)
}

func requireConflict(t *testing.T, err error, text string) {
	t.Helper()
	var app *temporal.ApplicationError
	require.ErrorAs(t, err, &app)
	require.Equal(t, signals.ErrConflict, app.Type())
	require.True(t, app.NonRetryable())
	require.ErrorContains(t, err, text)
}

func TestNotaryWritesPapersThatVerify(t *testing.T) {
	o := newOffice(t)
	inputs, outcome := o.tell("r-1")
	refs := o.write(inputs)
	manifest := o.manifest(inputs, refs, outcome, nil)
	out, err := o.notary.WriteRecord(t.Context(), manifest)
	require.NoError(t, err)
	require.False(t, out.RetainUntil.Before(manifest.Header.At.Add(time.Hour)))
	require.Nil(t, out.Envelope)
	for _, ref := range refs {
		require.NotEmpty(t, ref.Version)
	}
	r := o.verify()
	require.Zero(t, r.Total(), "%+v", r.Releases)
	require.Equal(t, 1, r.Complete)
	require.Equal(t, signals.RolledBack, r.Releases[0].Outcome)
	require.Equal(t, out.Ref, *r.Releases[0].Manifest)
}

func TestNotaryReturnsThePermitAsSigned(t *testing.T) {
	o := newOffice(t)
	inputs, _ := o.tell("r-1")
	permits := 0
	var refs []signals.RecordRef
	for _, in := range inputs {
		out, err := o.notary.WriteRecord(t.Context(), place(in, refs))
		require.NoError(t, err)
		refs = append(refs, out.Ref)
		if in.Kind != signals.RecordPermit {
			require.Nil(t, out.Envelope)
			continue
		}
		permits++
		_, err = out.Envelope.Open(evidence.PayloadType, []signals.PublicKey{o.signer.Public()}, time.Now())
		require.NoError(t, err)
	}
	require.Equal(t, 1, permits)
}

// randomSigner signs as a key service does: never twice the same.
type randomSigner struct {
	*evidence.LocalSigner
	key *ecdsa.PrivateKey
}

func (s randomSigner) Sign(_ context.Context, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, s.key, sum[:])
}

func TestRetryAdoptsItsOwnRecord(t *testing.T) {
	o := newOffice(t)
	block, _ := pem.Decode(o.private)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	signers := map[string]evidence.Signer{"local key": o.signer, "key service": randomSigner{o.signer, key.(*ecdsa.PrivateKey)}}
	for name, signer := range signers {
		t.Run(name, func(t *testing.T) {
			o.notary = o.with(signer, o.store)
			inputs, _ := o.tell("retry-" + signer.KeyID() + name[:3])
			refs := o.write(inputs[:2])
			again, err := o.notary.WriteRecord(t.Context(), place(inputs[1], refs[:1]))
			require.NoError(t, err)
			require.Equal(t, refs[1], again.Ref)
			first, err := o.notary.WriteRecord(t.Context(), place(inputs[0], nil))
			require.NoError(t, err, "the first record is found among those that followed it")
			require.Equal(t, refs[0], first.Ref)
		})
	}
	require.Zero(t, o.verify().Total())
}

// faultyStore loses answers or looks away, as a network does.
type faultyStore struct {
	activities.RecordStore
	loseAnswer, lookAway bool
}

func (s *faultyStore) Put(ctx context.Context, key string, body []byte, until time.Time) (string, error) {
	version, err := s.RecordStore.Put(ctx, key, body, until)
	if s.loseAnswer && err == nil {
		s.loseAnswer = false
		return "", errors.New("connection reset")
	}
	return version, err
}

func (s *faultyStore) List(ctx context.Context, prefix string) iter.Seq2[evidence.Object, error] {
	if s.lookAway {
		s.lookAway = false
		return func(func(evidence.Object, error) bool) {}
	}
	return s.RecordStore.List(ctx, prefix)
}

func TestLostAnswerAndTakenKeyEndInOneRecord(t *testing.T) {
	o := newOffice(t)
	inputs, _ := o.tell("r-1")
	store := &faultyStore{RecordStore: o.store, loseAnswer: true}
	n := o.with(o.signer, store)
	_, err := n.WriteRecord(t.Context(), place(inputs[0], nil))
	require.ErrorContains(t, err, "connection reset")
	var app *temporal.ApplicationError
	require.NotErrorAs(t, err, &app, "the network's fault is retried")
	store.lookAway = true // the write meets 412 and finds itself
	out, err := n.WriteRecord(t.Context(), place(inputs[0], nil))
	require.NoError(t, err)
	require.Equal(t, 1, o.verify().Records)
	again, err := n.WriteRecord(t.Context(), place(inputs[0], nil))
	require.NoError(t, err)
	require.Equal(t, out.Ref, again.Ref)
}

func TestOtherContentAtThePlaceIsAConflict(t *testing.T) {
	o := newOffice(t)
	inputs, _ := o.tell("r-1")
	refs := o.write(inputs[:2])
	_, err := o.notary.WriteRecord(t.Context(), place(inputs[2], refs[:1]))
	requireConflict(t, err, "record 2 (verification) of release r-1 was to be written, and the bucket holds "+refs[1].Key)

	other, _ := o.tell("r-1") // the same id at another time
	other[0].Header.At = other[0].Header.At.Add(time.Minute)
	_, err = o.notary.WriteRecord(t.Context(), place(other[0], nil))
	requireConflict(t, err, refs[0].Key)

	stranger, _ := evidencetest.Signer(t, "evidence-1")
	_, err = o.with(stranger, o.store).WriteRecord(t.Context(), place(inputs[1], refs[:1]))
	requireConflict(t, err, refs[1].Key)

	o.foreign("v1/prod/payments-api/r-2/notes.txt", []byte("mine"))
	taken, _ := o.tell("r-2")
	_, err = o.notary.WriteRecord(t.Context(), place(taken[0], nil))
	requireConflict(t, err, "release id r-2 already has papers, such as v1/prod/payments-api/r-2/notes.txt; start under a new id")
}

// TestUnlockedRecordIsNotWritten is threat 11: what is not durably locked does
// not count as written.
func TestUnlockedRecordIsNotWritten(t *testing.T) {
	o := newOffice(t)
	inputs, _ := o.tell("r-1")
	stored := evidencetest.SealOne(t, o.signer, place(inputs[0], nil))
	o.foreign(stored.Ref.Key, stored.Body)
	_, err := o.notary.WriteRecord(t.Context(), place(inputs[0], nil))
	require.ErrorContains(t, err, "has no retention")

	inputs, _ = o.tell("r-2")
	stored = evidencetest.SealOne(t, o.signer, place(inputs[0], nil))
	_, err = o.store.Put(t.Context(), stored.Ref.Key, stored.Body, time.Now().Add(30*time.Minute))
	require.NoError(t, err)
	_, err = o.notary.WriteRecord(t.Context(), place(inputs[0], nil))
	require.ErrorContains(t, err, "is locked until")
	require.Equal(t, 2, o.verify().ByKind[evidence.Unlocked])
}

func TestRacingAttemptsEndInOneRecord(t *testing.T) {
	o := newOffice(t)
	inputs, _ := o.tell("r-1")
	var wait sync.WaitGroup
	outs := make([]signals.RecordOutput, 6)
	errs := make([]error, len(outs))
	for i := range outs {
		n := o.with(o.signer, o.store) // each as if it were another process
		wait.Go(func() { outs[i], errs[i] = n.WriteRecord(t.Context(), place(inputs[0], nil)) })
	}
	wait.Wait()
	for i := range outs {
		require.NoError(t, errs[i])
		require.Equal(t, outs[0].Ref, outs[i].Ref)
	}
	require.Zero(t, o.verify().Total())
	require.Equal(t, 1, o.verify().Records)
}

func TestCloseAbandoned(t *testing.T) {
	o := newOffice(t)
	inputs, outcome := o.tell("r-1")
	refs := o.write(inputs[:6])
	in := signals.CloseInput{Environment: "prod", Service: "payments-api", Release: "r-1", Run: "run-r-1", State: "terminated", At: time.Now().Add(time.Minute).UTC()}
	ref, err := o.notary.CloseAbandoned(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, 7, ref.Sequence)
	again, err := o.notary.CloseAbandoned(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, ref, again)
	_, err = o.notary.WriteRecord(t.Context(), place(inputs[6], refs))
	requireConflict(t, err, ref.Key)

	never := in
	never.Release, never.Run, never.Previous = "r-2", "run-r-2", &ref
	second, err := o.notary.CloseAbandoned(t.Context(), never)
	require.NoError(t, err, "a release that left nothing still leaves that")
	require.Equal(t, 1, second.Sequence)

	closed, _ := o.tell("r-3")
	closedRefs := o.write(closed)
	manifest, err := o.notary.WriteRecord(t.Context(), o.manifest(closed, closedRefs, outcome, &second))
	require.NoError(t, err)
	own := in
	own.Release, own.Run = "r-3", "run-r-3"
	found, err := o.notary.CloseAbandoned(t.Context(), own)
	require.NoError(t, err)
	require.Equal(t, manifest.Ref, found)
	own.Run = "another"
	_, err = o.notary.CloseAbandoned(t.Context(), own)
	requireConflict(t, err, "belong to run run-r-3")

	r := o.verify()
	require.Zero(t, r.Total(), "%+v", r)
	require.Equal(t, 3, r.Complete)
	require.Equal(t, signals.Terminated, r.Releases[0].Outcome)
}

func TestAttemptThatOutlivesItsReleaseDoesNotWriteBesideTheLane(t *testing.T) {
	o := newOffice(t)
	inputs, _ := o.tell("r-1")
	refs := o.write(inputs[:3])
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = o.notary.WriteRecord(t.Context(), place(inputs[3], refs)) })
	ref, err := o.notary.CloseAbandoned(t.Context(), signals.CloseInput{
		Environment: "prod", Service: "payments-api", Release: "r-1", Run: "run-r-1", State: "terminated", At: time.Now().Add(time.Minute).UTC(),
	})
	wait.Wait()
	require.NoError(t, err)
	require.Contains(t, []int{4, 5}, ref.Sequence)
	require.Zero(t, o.verify().Total())
}

func TestMalformedRecordIsRefused(t *testing.T) {
	o := newOffice(t)
	inputs, _ := o.tell("r-1")
	in := place(inputs[0], nil)
	in.Subjects = nil
	_, err := o.notary.WriteRecord(t.Context(), in)
	requireConflict(t, err, "no subject")
	in = place(inputs[0], nil)
	in.Header.Release = "../escape"
	_, err = o.notary.WriteRecord(t.Context(), in)
	requireConflict(t, err, "../escape")
}
