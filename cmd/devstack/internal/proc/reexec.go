package proc

import (
	"fmt"
	"os"
)

// helperCommand is the hidden first argument under which this program runs
// itself again for one registered helper.
const helperCommand = "guard"

var helpers = map[string]func(args []string) error{}

// RegisterHelper names a function that this program can run in a process of
// its own, so that a cleanup can be Go code and still run after a crash of the
// program that asked for it. Call it from a package's init or variable
// initialisation, before Reexec.
func RegisterHelper(name string, run func(args []string) error) bool {
	if _, taken := helpers[name]; taken {
		panic("proc: helper registered twice: " + name)
	}
	helpers[name] = run
	return true
}

// HelperArgv is the command line that runs a registered helper of this program.
func HelperArgv(name string, args ...string) ([]string, error) {
	if _, known := helpers[name]; !known {
		return nil, fmt.Errorf("no helper is registered under the name %q", name)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own file to run helper %q: %w", name, err)
	}
	return append([]string{self, helperCommand, name}, args...), nil
}

// Reexec runs the helper that this process was started for and exits; in any
// other process it returns at once. It must be the first call in main, and in
// TestMain of packages that start a Supervisor.
func Reexec() {
	if len(os.Args) < 3 || os.Args[1] != helperCommand {
		return
	}
	run, known := helpers[os.Args[2]]
	if !known {
		fmt.Fprintf(os.Stderr, "guard: no helper named %q\n", os.Args[2])
		os.Exit(2)
	}
	if err := run(os.Args[3:]); err != nil {
		fmt.Fprintf(os.Stderr, "guard %s: %v\n", os.Args[2], err)
		os.Exit(1)
	}
	os.Exit(0)
}
