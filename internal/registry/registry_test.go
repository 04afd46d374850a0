package registry

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/signals"
)

// serve starts a real registry and returns its host:port.
func serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// push stores a new image under each tag of repository and returns its digest.
func push(t *testing.T, repository string, tags ...string) string {
	t.Helper()
	img, err := random.Image(64, 1)
	require.NoError(t, err)
	for _, tag := range tags {
		ref, err := name.ParseReference(repository + ":" + tag)
		require.NoError(t, err)
		require.NoError(t, remote.Write(ref, img, remote.WithContext(t.Context())))
	}
	digest, err := img.Digest()
	require.NoError(t, err)
	return digest.String()
}

func TestResolvePinsWhatTheReferenceNames(t *testing.T) {
	repository := serve(t) + "/team/app"
	v1, v2 := push(t, repository, "v1"), push(t, repository, "v2", "latest")
	client := New(nil)
	for image, want := range map[string]signals.Artifact{
		repository + ":v1":         {Repository: repository, Tag: "v1", Digest: v1},
		repository + ":latest":     {Repository: repository, Tag: "latest", Digest: v2},
		repository + "@" + v1:      {Repository: repository, Digest: v1},
		repository + ":v1@" + v1:   {Repository: repository, Tag: "v1", Digest: v1},
		repository + ":gone@" + v2: {Repository: repository, Tag: "gone", Digest: v2},
	} {
		got, err := client.Resolve(t.Context(), image)
		require.NoError(t, err, image)
		require.Equal(t, want, got)
	}

	v3 := push(t, repository, "v1")
	moved, err := client.Resolve(t.Context(), repository+":v1")
	require.NoError(t, err)
	require.Equal(t, v3, moved.Digest, "a tag is read again on each call")
	pinned, err := client.Resolve(t.Context(), repository+":v1@"+v1)
	require.NoError(t, err)
	require.Equal(t, v1, pinned.Digest, "a digest wins over a tag that moved")
}

func TestResolveSaysWhatIsWrong(t *testing.T) {
	host := serve(t)
	push(t, host+"/app", "v1", "v2")
	absent := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		image string
		kind  Kind
		says  string
	}{
		{host + "/app", Malformed, "want host/repository@sha256"},
		{"app:v1", Malformed, "want host/repository@sha256"},
		{host + "/APP:v1", Malformed, "want host/repository@sha256"},
		{host + "/app@sha256:12", Malformed, "want host/repository@sha256"},
		{host + "/app@sha512:" + strings.Repeat("0", 128), Malformed, "want host/repository@sha256"},
		{host + "/app:v9", NoSuchTag, "the repository has v1, v2"},
		{host + "/other:v1", NoSuchTag, "no repository other"},
		{host + "/app@" + absent, NoSuchDigest, "push the image first"},
	} {
		_, err := New(nil).Resolve(t.Context(), c.image)
		var refused *Error
		require.ErrorAs(t, err, &refused, c.image)
		require.Equal(t, c.kind, refused.Kind, "%v", err)
		require.True(t, refused.BadRequest())
		require.ErrorContains(t, err, c.says)
		require.ErrorContains(t, err, c.image)
	}
}

func TestLongTagListsAreCut(t *testing.T) {
	repository := serve(t) + "/app"
	tags := make([]string, 2*tagsShown)
	for i := range tags {
		tags[i] = "t" + strings.Repeat("x", i+1)
	}
	push(t, repository, tags...)
	_, err := New(nil).Resolve(t.Context(), repository+":v1")
	require.ErrorContains(t, err, "the repository has 24 tags, among them tx, ")
	require.NotContains(t, err.Error(), tags[tagsShown]+",")
}

func TestRegistryThatIsDownMayComeBack(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := listener.Addr().String()
	require.NoError(t, listener.Close())
	client := New(nil)
	_, err = client.Resolve(t.Context(), host+"/app:v1")
	var refused *Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, Unreachable, refused.Kind)
	require.False(t, refused.BadRequest())

	listener, err = net.Listen("tcp", host)
	require.NoError(t, err)
	server := &http.Server{Handler: registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	want := push(t, host+"/app", "v1")
	got, err := client.Resolve(t.Context(), host+"/app:v1")
	require.NoError(t, err, "the same client must recover")
	require.Equal(t, want, got.Digest)
}

func TestRegistryThatNeverAnswersIsGivenUp(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := New(nil).Resolve(ctx, strings.TrimPrefix(server.URL, "http://")+"/app:v1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var refused *Error
	require.ErrorAs(t, err, &refused)
	require.False(t, refused.BadRequest())
}

func TestPlainHTTPIsForListedHostsOnly(t *testing.T) {
	client := New([]string{"registry.internal:5000"})
	scheme := func(image string) string {
		ref, err := name.ParseReference(image, client.NameOptions(image)...)
		require.NoError(t, err)
		return ref.Context().Scheme()
	}
	require.Equal(t, "http", scheme("registry.internal:5000/app:v1"))
	require.Equal(t, "https", scheme("registry.example/app:v1"))
	require.Equal(t, "http", scheme("127.0.0.1:5000/app:v1"))
}
