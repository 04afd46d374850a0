package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/evidence"
	"github.com/waybill-dev/waybill/internal/objectlock"
)

// papers is what the evidence commands share: where the papers are, and which
// keys are believed.
type papers struct {
	*app
	bucket, endpoint, region string
	pathStyle                bool
	dir                      string
	keys, heads              []string
	closed                   bool
	openWithin, retention    time.Duration
	lockMode                 string
	environment, service     string
}

// newEvidenceCommand is the tree of commands that read evidence from a bucket or
// a copy of one. None of them speaks to Waybill.
func newEvidenceCommand(a *app) *cobra.Command {
	p := &papers{app: a}
	cmd := &cobra.Command{
		Use: "evidence", Short: "Check and question the papers of releases, offline with public keys alone", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&p.bucket, "bucket", os.Getenv("WAYBILL_BUCKET"), "bucket that holds the evidence (default $WAYBILL_BUCKET)")
	flags.StringVar(&p.endpoint, "endpoint", "", "URL of the S3 server (default $AWS_ENDPOINT_URL_S3, else AWS)")
	flags.StringVar(&p.region, "region", "", "region of the bucket (default $AWS_REGION)")
	flags.BoolVar(&p.pathStyle, "path-style", false, "put the bucket's name into the path; so by default where an endpoint is given")
	flags.StringVar(&p.dir, "dir", "", "folder with a copy of the bucket, instead of a bucket")
	flags.StringSliceVar(&p.keys, "keys", nil, "PEM files of the public evidence keys (default $WAYBILL_EVIDENCE_KEYS)")
	flags.StringVar(&p.environment, "environment", "", "narrow to the lane of this environment and --service")
	flags.StringVar(&p.service, "service", "", "narrow to the lane of this service and --environment")
	flags.BoolVar(&p.closed, "closed", false, "take a release without a manifest for truncated, however recent it is")
	flags.DurationVar(&p.openWithin, "open-within", 7*24*time.Hour, "how old the newest record of a running release may be")
	flags.DurationVar(&p.retention, "retention", 0, "how long after its making each record must be locked at least")
	flags.StringVar(&p.lockMode, "lock-mode", "COMPLIANCE", "the retention mode demanded; empty for any")
	cmd.AddCommand(
		newEvidenceVerifyCommand(p), newEvidenceListCommand(p), newEvidenceShowCommand(p),
		newEvidenceAskCommand(p), newEvidenceCatCommand(p), newEvidenceExportCommand(p),
	)
	return cmd
}

// source is the folder or the bucket that was named.
func (p *papers) source(ctx context.Context) (evidence.Source, string, error) {
	switch {
	case p.dir != "" && p.bucket != "" && p.bucket != os.Getenv("WAYBILL_BUCKET"):
		return nil, "", failed(exitUsage, errors.New("name a --bucket or a --dir, not both"))
	case p.dir != "":
		folder, err := evidence.OpenFolder(p.dir)
		if err != nil {
			return nil, "", failed(exitUsage, err)
		}
		return folder, p.dir, nil
	case p.bucket == "":
		return nil, "", failed(exitUsage, errors.New("name the --bucket that holds the evidence, or a --dir with a copy of it"))
	}
	endpoint := p.endpoint
	if endpoint == "" {
		endpoint = os.Getenv("AWS_ENDPOINT_URL_S3")
	}
	reader, err := objectlock.NewReader(ctx, objectlock.Config{
		Bucket: p.bucket, Endpoint: endpoint, Region: p.region, PathStyle: p.pathStyle || endpoint != "",
	})
	if err != nil {
		return nil, "", failed(exitUsage, err)
	}
	return reader, "s3://" + p.bucket, nil
}

// options reads the keys; without one nothing can be judged.
func (p *papers) options() (evidence.Options, error) {
	o := evidence.Options{
		Now: time.Now(), Closed: p.closed, OpenWithin: p.openWithin, Retention: p.retention, LockMode: p.lockMode, Heads: p.heads,
		Lane: evidence.Lane{Environment: p.environment, Service: p.service},
	}
	if (p.environment == "") != (p.service == "") {
		return o, failed(exitUsage, errors.New("a lane is a service in an environment: give --environment and --service together"))
	}
	var err error
	if o.Keys, err = p.keyring(); err != nil {
		return o, failed(exitUsage, err)
	}
	return o, nil
}

// unreachable gives errors of the way to the papers the exit status for them.
func unreachable(err error) error {
	var chosen interface{ ExitCode() int }
	if err == nil || errors.As(err, &chosen) {
		return err
	}
	return failed(exitUnreachable, err)
}

// lookUp reads and judges one release's papers.
func (p *papers) lookUp(ctx context.Context, release string) (evidence.Source, evidence.Options, evidence.Papers, error) {
	o, err := p.options()
	if err != nil {
		return nil, o, evidence.Papers{}, err
	}
	src, _, err := p.source(ctx)
	if err != nil {
		return nil, o, evidence.Papers{}, err
	}
	found, err := evidence.Load(ctx, src, release, o)
	return src, o, found, unreachable(err)
}

// verdict is the error for papers that do not verify; what was found has been
// shown by then.
func verdict(faults []evidence.Fault) error {
	if len(faults) == 0 {
		return nil
	}
	return &evidence.FaultsError{Faults: len(faults)}
}

// keyring reads the public keys that were named.
func (p *papers) keyring() (evidence.Keyring, error) {
	ring, err := evidence.KeyringFromFiles(p.keyFiles()...)
	if err == nil && len(ring) == 0 {
		err = fmt.Errorf("--keys: %w", evidence.ErrNoKeys)
	}
	return ring, err
}
