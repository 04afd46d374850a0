package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// requirement is a file that a node needs and the Debian package that holds it.
type requirement struct{ file, debian string }

// cniDir is where Debian puts the network plugins.
const cniDir = "/usr/lib/cni"

// requirements are checked by file and not by package, so that a machine with
// another build of them (a container engine's own containerd) is left as it is.
var requirements = []requirement{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{filepath.Join(cniDir, "ptp"), "containernetworking-plugins"},
	{filepath.Join(cniDir, "host-local"), "containernetworking-plugins"},
	{"iptables", "iptables"},
	{"nft", "nftables"},
	{"conntrack", "conntrack"},
	{"ip", "iproute2"},
}

// systemPath is the search path of the node's programs: those that an
// administrator's commands are in are not on everybody's path.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// missingPackages lists the Debian packages to install for a node.
func missingPackages() []string {
	var missing []string
	for _, r := range requirements {
		if !present(r.file) && !slices.Contains(missing, r.debian) {
			missing = append(missing, r.debian)
		}
	}
	return missing
}

func present(file string) bool {
	_, err := os.Stat(program(file))
	return err == nil
}

// program is the path of a system program, or its bare name where it is not
// installed.
func program(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	for _, dir := range filepath.SplitList(systemPath) {
		if path, err := exec.LookPath(filepath.Join(dir, file)); err == nil {
			return path
		}
	}
	return file
}

// installPackages brings the machine what a node needs and removes nothing.
func installPackages(ctx context.Context, o Options) error {
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	return timed(o, "packages", func() error {
		install := append([]string{"install", "--yes", "--no-install-recommends", "--no-remove"}, missing...)
		if aptGet(ctx, o, install...) == nil {
			return nil
		}
		// The machine's package lists may be missing or old.
		if err := aptGet(ctx, o, "update"); err != nil {
			return err
		}
		return aptGet(ctx, o, install...)
	})
}

func aptGet(ctx context.Context, o Options, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	path := filepath.Join(o.StateDir, "logs", "apt.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of apt-get: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w: see %s", args[0], err, path)
	}
	return nil
}
