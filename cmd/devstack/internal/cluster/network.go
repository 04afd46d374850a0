package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// network is a stack's own network namespace and the cable to it.
type network struct {
	namespace string // name for ip(8)
	cable     string // the host's end
	block     block
}

// block is the pair of address ranges of one stack.
type block struct {
	link netip.Prefix // host .1, cluster .2
	pods netip.Prefix
}

func (b block) host() netip.Addr { return b.link.Addr().Next() }
func (b block) node() netip.Addr { return b.host().Next() }

// file is where ip(8) keeps the namespace.
func (n network) file() string { return "/run/netns/" + n.namespace }

func networkOf(id string) network { return network{namespace: "waybill-" + id, cable: "wb" + id} }

// blocks is how many pairs there are to choose from, in 10.213.0.0/16.
const blocks = 128

func blockAt(i int) block {
	return block{
		link: netip.MustParsePrefix(fmt.Sprintf("10.213.%d.0/24", 2*i)),
		pods: netip.MustParsePrefix(fmt.Sprintf("10.213.%d.0/24", 2*i+1)),
	}
}

// freeBlock returns the first pair that overlaps nothing in use.
func freeBlock(used []netip.Prefix) (block, error) {
	for i := range blocks {
		b, taken := blockAt(i), false
		for _, u := range used {
			taken = taken || u.Overlaps(b.link) || u.Overlaps(b.pods)
		}
		if !taken {
			return b, nil
		}
	}
	return block{}, errors.New("all of 10.213.0.0/16 is in use on this machine: stop a stack")
}

// usedPrefixes lists the ranges that this machine has addresses in or routes
// to; the default route counts for nothing.
func usedPrefixes() ([]netip.Prefix, error) {
	var used []netip.Prefix
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil {
			used = append(used, prefix.Masked())
		}
	}
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, fmt.Errorf("list this machine's routes: %w", err)
	}
	return append(used, parseRoutes(string(table))...), nil
}

// parseRoutes reads /proc/net/route: addresses are in hexadecimal, least
// significant byte first.
func parseRoutes(table string) []netip.Prefix {
	var routes []netip.Prefix
	for line := range strings.SplitSeq(table, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		var to, mask uint32
		if _, err := fmt.Sscanf(fields[1]+" "+fields[7], "%x %x", &to, &mask); err != nil || mask == 0 {
			continue
		}
		bits, _ := net.IPv4Mask(byte(mask), byte(mask>>8), byte(mask>>16), byte(mask>>24)).Size()
		address := netip.AddrFrom4([4]byte{byte(to), byte(to >> 8), byte(to >> 16), byte(to >> 24)})
		routes = append(routes, netip.PrefixFrom(address, bits))
	}
	return routes
}

// networkLock keeps two stacks that start together from choosing one block.
const networkLock = "/run/waybill-network.lock"

// makeNetwork makes the namespace, joins it to the host and gives both ends
// their addresses and routes.
func makeNetwork(ctx context.Context, id string) (network, error) {
	n := networkOf(id)
	lock, err := os.OpenFile(networkLock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return n, fmt.Errorf("lock the choice of addresses: %w", err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return n, fmt.Errorf("lock the choice of addresses: %w", err)
	}
	used, err := usedPrefixes()
	if err != nil {
		return n, err
	}
	if n.block, err = freeBlock(used); err != nil {
		return n, err
	}
	host, node := n.block.host().String(), n.block.node().String()
	steps := []string{
		"netns add " + n.namespace,
		"link add " + n.cable + " type veth peer name eth0 netns " + n.namespace,
		"addr add " + host + "/24 dev " + n.cable,
		"link set " + n.cable + " up",
		"-n " + n.namespace + " addr add " + node + "/24 dev eth0",
		"-n " + n.namespace + " link set lo up",
		"-n " + n.namespace + " link set eth0 up",
		"-n " + n.namespace + " route add default via " + host,
		"route add " + n.block.pods.String() + " via " + node,
	}
	for _, step := range steps {
		if err := command(ctx, append([]string{"ip"}, strings.Fields(step)...)...); err != nil {
			return n, err
		}
	}
	return n, nil
}
