package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// nodeDir holds all state of a node. It is apart from the stack's folder to
// keep its unix sockets' paths within the 108 characters that they may have.
func nodeDir(id string) string { return "/var/lib/waybill/" + id }

// cleanHelper removes all that a node leaves outside the stack's folder.
const cleanHelper = "cluster-clean"

var _ = proc.RegisterHelper(cleanHelper, func(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: guard cluster-clean ID (run by the stack, not by hand)")
	}
	return clean(context.Background(), args[0])
})

// clean ends the containers of a node whose kubelet and containerd have ended,
// and removes their mounts, cgroups, files and network. It goes on past errors
// and does nothing where nothing is left.
func clean(ctx context.Context, id string) error {
	dir := nodeDir(id)
	errs := []error{endContainers(id), removeShimSockets(dir), unmountBelow(ctx, dir), removeCgroups(id)}
	if errors.Join(errs...) == nil {
		// With something still mounted below, removing would reach into it.
		errs = append(errs, os.RemoveAll(dir))
	}
	errs = append(errs, removeStrayFiles(id), removeNetwork(ctx, networkOf(id)))
	return errors.Join(errs...)
}

// cgroups lists the folders of a cgroup in every mounted hierarchy, versions 1
// and 2, that has it.
func cgroups(id string) ([]string, error) {
	roots, err := cgroupRoots()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, root := range roots {
		dir := filepath.Join(root, cgroupName(id))
		if _, err := os.Stat(dir); err == nil {
			found = append(found, dir)
		}
	}
	return found, nil
}

func cgroupName(id string) string { return "waybill-" + id }

// cgroupRoots lists the mount points of all cgroup hierarchies.
func cgroupRoots() ([]string, error) {
	table, err := mounts()
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, m := range table {
		if m.kind == "cgroup" || m.kind == "cgroup2" {
			roots = append(roots, m.at)
		}
	}
	return roots, nil
}

type mount struct{ at, kind string }

// mounts lists what is mounted, oldest first.
func mounts() ([]mount, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("list the mounts: %w", err)
	}
	var all []mount
	for line := range strings.SplitSeq(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) >= 3 {
			all = append(all, mount{at: fields[1], kind: fields[2]})
		}
	}
	return all, nil
}

// endContainers kills the node's shims, so that they start nothing more, and
// every process in its cgroups, until none is left.
func endContainers(id string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		pids, err := containerProcesses(id)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of the node's containers outlive SIGKILL", pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func containerProcesses(id string) ([]int, error) {
	pids := shims(nodeDir(id))
	dirs, err := cgroups(id)
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.Name() != "cgroup.procs" {
				return nil //nolint:nilerr // a cgroup that vanished on the way has no processes
			}
			text, _ := os.ReadFile(path) //nolint:gosec // the kernel has no links in there
			for field := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// shims lists the containerd shims that serve the containerd of this folder.
func shims(dir string) []int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var pids []int
	for _, file := range lines {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "containerd-shim") || !strings.Contains(string(text), dir+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// removeShimSockets removes the sockets of killed shims.
func removeShimSockets(dir string) error {
	sockets, err := shimAddresses(dir)
	for _, socket := range sockets {
		if gone := os.Remove(socket); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove the socket of a shim: %w", gone))
		}
	}
	return err
}

// shimAddresses lists the sockets of the node's shims, which containerd keeps
// in a folder that all of a machine's containerds share.
func shimAddresses(dir string) ([]string, error) {
	files, err := filepath.Glob(dir + "/state/io.containerd.runtime.v2.task/*/*/address")
	var sockets []string
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			sockets = append(sockets, strings.TrimPrefix(strings.TrimSpace(string(text)), "unix://"))
		}
	}
	slices.Sort(sockets)
	return slices.Compact(sockets), err // the containers of a pod share one
}

// unmountBelow unmounts everything at and below dir, newest first.
func unmountBelow(ctx context.Context, dir string) error {
	table, err := mounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range slices.Backward(table) {
		if m.at == dir || strings.HasPrefix(m.at, dir+"/") {
			errs = append(errs, command(ctx, "umount", "--lazy", m.at))
		}
	}
	return errors.Join(errs...)
}

// removeCgroups removes the node's cgroups, children first. The kernel may
// take a moment after the last process to agree.
func removeCgroups(id string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		dirs, err := cgroups(id)
		if err != nil || len(dirs) == 0 {
			return err
		}
		var last error
		for _, dir := range dirs {
			var tree []string
			_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err == nil && e.IsDir() {
					tree = append(tree, path)
				}
				return nil
			})
			for _, path := range slices.Backward(tree) {
				if err := syscall.Rmdir(path); err != nil && !errors.Is(err, syscall.ENOENT) {
					last = fmt.Errorf("remove cgroup %s: %w", path, err)
				}
			}
		}
		if last != nil && time.Now().After(deadline) {
			return last
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// removeStrayFiles removes what the kubelet and the network plugins write to
// places that no setting moves.
func removeStrayFiles(id string) error {
	var errs []error
	results, _ := filepath.Glob("/var/lib/cni/results/" + networkOf(id).namespace + "-*")
	for _, file := range results {
		errs = append(errs, os.Remove(file))
	}
	links, _ := filepath.Glob("/var/log/containers/*.log")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, nodeDir(id)+"/") {
			errs = append(errs, os.Remove(link))
		}
	}
	return errors.Join(errs...)
}

// removeNetwork deletes the cable and the namespace.
func removeNetwork(ctx context.Context, n network) error {
	var errs []error
	if _, err := os.Stat("/sys/class/net/" + n.cable); err == nil {
		errs = append(errs, command(ctx, "ip", "link", "delete", n.cable))
	}
	if _, err := os.Stat(n.file()); err == nil {
		errs = append(errs, command(ctx, "ip", "netns", "delete", n.namespace))
	}
	return errors.Join(errs...)
}
