package signals

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlainDigestCanBeReadAloud(t *testing.T) {
	d := Digest([]byte("plan"))
	plain := PlainDigest(d)
	require.Len(t, strings.Fields(plain), 8)
	require.Equal(t, d, "sha256:"+strings.ReplaceAll(plain, " ", ""), "nothing is left out")
	require.Equal(t, "no digest", PlainDigest("no digest"))
}
