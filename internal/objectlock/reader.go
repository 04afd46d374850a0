package objectlock

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/waybill-dev/waybill/internal/evidence"
)

// Reader reads a bucket with all its versions. It is an evidence.Source.
type Reader struct {
	s3     *s3.Client
	bucket string
}

// NewReader makes a reader; no call is made yet.
func NewReader(ctx context.Context, c Config) (*Reader, error) {
	client, err := dial(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Reader{client, c.Bucket}, nil
}

// Versioned is true: a bucket tells versions, markers and locks.
func (r *Reader) Versioned() bool { return true }

// page fetches one page of a version listing, within its own time.
func (r *Reader) page(ctx context.Context, p *s3.ListObjectVersionsPaginator) (*s3.ListObjectVersionsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := p.NextPage(ctx)
	if err != nil {
		return nil, fmt.Errorf("list versions in bucket %s: %w", r.bucket, err)
	}
	return page, nil
}

// List yields every version and delete marker under prefix, by key, newest
// version first and markers after the versions.
func (r *Reader) List(ctx context.Context, prefix string) iter.Seq2[evidence.Object, error] {
	return func(yield func(evidence.Object, error) bool) {
		pages := s3.NewListObjectVersionsPaginator(r.s3, &s3.ListObjectVersionsInput{Bucket: &r.bucket, Prefix: &prefix})
		var last evidence.Object
		for pages.HasMorePages() {
			page, err := r.page(ctx, pages)
			if err != nil {
				yield(evidence.Object{}, err)
				return
			}
			for _, o := range objects(page) {
				// Some servers begin a page with the version that ended the last.
				if o.Key == last.Key && o.Version == last.Version {
					continue
				}
				if last = o; !yield(o, nil) {
					return
				}
			}
		}
	}
}

// objects merges a page's versions and markers. S3 lists them apart, each
// newest first within a key.
func objects(page *s3.ListObjectVersionsOutput) []evidence.Object {
	var all []evidence.Object
	for _, v := range page.Versions {
		all = append(all, evidence.Object{
			Key: aws.ToString(v.Key), Version: aws.ToString(v.VersionId), Latest: aws.ToBool(v.IsLatest),
			Modified: aws.ToTime(v.LastModified), Size: aws.ToInt64(v.Size),
		})
	}
	for _, m := range page.DeleteMarkers {
		all = append(all, evidence.Object{
			Key: aws.ToString(m.Key), Version: aws.ToString(m.VersionId), Latest: aws.ToBool(m.IsLatest),
			Modified: aws.ToTime(m.LastModified), DeleteMarker: true,
		})
	}
	slices.SortStableFunc(all, func(a, b evidence.Object) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// Folders returns the names directly under prefix. Versions are listed, not
// objects: a delete marker must not hide a release.
func (r *Reader) Folders(ctx context.Context, prefix string) ([]string, error) {
	pages := s3.NewListObjectVersionsPaginator(r.s3, &s3.ListObjectVersionsInput{
		Bucket: &r.bucket, Prefix: &prefix, Delimiter: aws.String("/"),
	})
	var names []string
	for pages.HasMorePages() {
		page, err := r.page(ctx, pages)
		if err != nil {
			return nil, err
		}
		for _, p := range page.CommonPrefixes {
			names = append(names, strings.TrimSuffix(strings.TrimPrefix(aws.ToString(p.Prefix), prefix), "/"))
		}
	}
	return names, nil
}

// Read returns one version's bytes and lock.
func (r *Reader) Read(ctx context.Context, o evidence.Object) (evidence.Content, error) {
	body, lock, err := r.get(ctx, o.Key, o.Version)
	if err != nil {
		return evidence.Content{}, err
	}
	if lock == nil {
		// A server may keep the lock out of the answer; only its own word that
		// there is none counts.
		if lock, err = r.Retention(ctx, o.Key, o.Version); err != nil {
			return evidence.Content{}, err
		}
	}
	return evidence.Content{Body: body, Lock: lock}, nil
}

// Get returns one version's bytes.
func (r *Reader) Get(ctx context.Context, key, version string) ([]byte, error) {
	body, _, err := r.get(ctx, key, version)
	return body, err
}

func (r *Reader) get(ctx context.Context, key, version string) ([]byte, *evidence.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := r.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &r.bucket, Key: &key, VersionId: &version})
	if err != nil {
		return nil, nil, fmt.Errorf("read %s, version %s, of bucket %s: %w", key, version, r.bucket, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(io.LimitReader(out.Body, evidence.MaxBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s, version %s, of bucket %s: %w", key, version, r.bucket, err)
	}
	if out.ObjectLockMode == "" || out.ObjectLockRetainUntilDate == nil {
		return body, nil, nil
	}
	return body, &evidence.Lock{Mode: string(out.ObjectLockMode), RetainUntil: *out.ObjectLockRetainUntilDate}, nil
}

// Retention returns the lock of one version, nil if it has none.
func (r *Reader) Retention(ctx context.Context, key, version string) (*evidence.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := r.s3.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &r.bucket, Key: &key, VersionId: &version})
	switch code(err) {
	case "NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError":
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the retention of %s, version %s, in bucket %s: %w", key, version, r.bucket, err)
	}
	if out.Retention == nil || out.Retention.RetainUntilDate == nil {
		return nil, nil
	}
	return &evidence.Lock{Mode: string(out.Retention.Mode), RetainUntil: *out.Retention.RetainUntilDate}, nil
}
