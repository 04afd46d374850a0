package cluster

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseRoutes(t *testing.T) {
	table := `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
wb12345678	0001D50A	0200D50A	0003	0	0	0	00FFFFFF	0	0	0
`
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.213.1.0/24")}, parseRoutes(table))
	require.Empty(t, parseRoutes("not a table"))
}

func TestBlockAddresses(t *testing.T) {
	b := blockAt(127)
	require.Equal(t, "10.213.254.1", b.host().String())
	require.Equal(t, "10.213.254.2", b.node().String())
	require.Equal(t, "10.213.255.0/24", b.pods.String())
}

func TestFreeBlockOverlapsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		used := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
			address := netip.AddrFrom4([4]byte{10, rapid.ByteRange(212, 214).Draw(t, "b"), rapid.Byte().Draw(t, "c"), 0})
			return netip.PrefixFrom(address, rapid.IntRange(17, 26).Draw(t, "bits")).Masked()
		}), 0, 20).Draw(t, "used")
		b, err := freeBlock(used)
		covered := 0
		for i := range blocks {
			for _, u := range used {
				if u.Overlaps(blockAt(i).link) || u.Overlaps(blockAt(i).pods) {
					covered++
					break
				}
			}
		}
		if (err != nil) != (covered == blocks) {
			t.Fatalf("%d of %d blocks in use, error %v", covered, blocks, err)
		}
		for _, u := range used {
			if err == nil && (u.Overlaps(b.link) || u.Overlaps(b.pods)) {
				t.Fatalf("%v overlaps %v", b, u)
			}
		}
	})
	_, err := freeBlock([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	require.ErrorContains(t, err, "in use")
}
