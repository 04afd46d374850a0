package sigtest

import (
	"archive/tar"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestImageIsAFunctionOfItsDescription(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		image := Image{
			Binary: rapid.SliceOf(rapid.Byte()).Draw(t, "binary"),
			Arch:   rapid.SampledFrom([]string{"amd64", "arm64"}).Draw(t, "arch"),
			Env:    rapid.MapOf(rapid.StringMatching(`[A-Z]{1,3}`), rapid.String()).Draw(t, "env"),
			Labels: rapid.MapOf(rapid.StringMatching(`[a-z]{1,3}`), rapid.String()).Draw(t, "labels"),
		}
		first, second := digest(t, image), digest(t, image)
		require.Equal(t, first, second)
		other := image
		other.Binary = append([]byte("x"), image.Binary...)
		require.NotEqual(t, first, digest(t, other))
	})
}

func digest(t require.TestingT, image Image) string {
	img, err := image.Build()
	require.NoError(t, err)
	d, err := img.Digest()
	require.NoError(t, err)
	return d.String()
}

func TestImageRunsItsBinary(t *testing.T) {
	img, err := Image{Binary: []byte("#!"), Arch: "arm64", Env: map[string]string{"B": "2", "A": "1"}}.Build()
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, "linux", config.OS)
	require.Equal(t, "arm64", config.Architecture)
	require.Equal(t, []string{"A=1", "B=2"}, config.Config.Env)
	require.Equal(t, []string{Entrypoint}, config.Config.Entrypoint)
	require.Equal(t, "65532:65532", config.Config.User)

	layers, err := img.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 1)
	content, err := layers[0].Uncompressed()
	require.NoError(t, err)
	archive := tar.NewReader(content)
	header, err := archive.Next()
	require.NoError(t, err)
	require.Equal(t, Entrypoint, "/"+header.Name)
	require.EqualValues(t, 0o555, header.Mode)
	body, err := io.ReadAll(archive)
	require.NoError(t, err)
	require.Equal(t, "#!", string(body))
}
