package registry

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

func serve(t *testing.T, dir string) (host string, stop func()) {
	t.Helper()
	r, err := Open(dir)
	require.NoError(t, err)
	server := httptest.NewServer(r)
	return strings.TrimPrefix(server.URL, "http://"), func() {
		server.Close()
		require.NoError(t, r.Close())
	}
}

func tag(t *testing.T, host, at string) name.Tag {
	t.Helper()
	ref, err := name.NewTag(host + "/payments-api:" + at)
	require.NoError(t, err)
	return ref
}

func TestContentOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	first, err := random.Image(1024, 2)
	require.NoError(t, err)
	second, err := random.Image(1024, 1)
	require.NoError(t, err)
	gone, err := random.Image(64, 1)
	require.NoError(t, err)
	descriptor, err := first.Digest()
	require.NoError(t, err)
	size, err := first.Size()
	require.NoError(t, err)
	media, err := first.MediaType()
	require.NoError(t, err)
	papers, ok := mutate.Subject(second, v1.Descriptor{MediaType: media, Size: size, Digest: descriptor}).(v1.Image)
	require.True(t, ok)

	host, stop := serve(t, dir)
	require.NoError(t, remote.Write(tag(t, host, "v1"), second))
	require.NoError(t, remote.Write(tag(t, host, "v1"), first)) // the tag moves
	require.NoError(t, remote.Write(tag(t, host, "papers"), papers))
	require.NoError(t, remote.Write(tag(t, host, "gone"), gone))
	require.NoError(t, remote.Delete(tag(t, host, "gone")))
	stop()

	// A crash in the middle of a write leaves part of a line.
	journal, err := os.OpenFile(filepath.Join(dir, "manifests.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = journal.WriteString(`{"method":"PUT","pa`)
	require.NoError(t, err)
	require.NoError(t, journal.Close())

	for range 2 {
		host, stop = serve(t, dir)
		image, err := remote.Image(tag(t, host, "v1"))
		require.NoError(t, err)
		digest, err := image.Digest()
		require.NoError(t, err)
		require.Equal(t, descriptor, digest)
		layers, err := image.Layers()
		require.NoError(t, err)
		for _, layer := range layers {
			_, err := layer.Compressed()
			require.NoError(t, err)
		}
		referrers, err := remote.Referrers(tag(t, host, "v1").Digest(descriptor.String()))
		require.NoError(t, err)
		index, err := referrers.IndexManifest()
		require.NoError(t, err)
		require.Len(t, index.Manifests, 1)
		_, err = remote.Image(tag(t, host, "gone"))
		require.Error(t, err)
		// What is written after a damaged line must be read back too.
		require.NoError(t, remote.Write(tag(t, host, "later"), gone))
		stop()
	}
}

func TestADamagedJournalIsNotIgnored(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "manifests.jsonl"), []byte("not json\n"), 0o600))
	_, err := Open(dir)
	require.ErrorContains(t, err, "damaged")
}
