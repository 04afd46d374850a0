package stack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// A daemon that ends by itself is started again, as its platform would do, at
// most restarts times within restartWindow; so is Slack, whose outages nothing
// else may notice. Without any other part there is no stack, and its end is the
// stack's.
const (
	restarts      = 20
	restartWindow = time.Minute
)

// daemons are the parts that can be started again, by name.
type daemons struct {
	sync.Mutex
	parts map[string]*restartable
}

type restartable struct {
	process *proc.Process
	ends    []time.Time
}

// watch notes a part's process number in run/<part>.pid and, for a daemon, how
// to start it again.
func (u *up) watch(part string, process *proc.Process) {
	u.notePid(part, process.Pid())
	if part != Worker && part != Gateway && part != Slack && !strings.HasPrefix(part, Load+"-") {
		return
	}
	u.daemons.Lock()
	defer u.daemons.Unlock()
	u.daemons.parts[part] = &restartable{process: process}
}

// notePid is for people and tests that want to see what a killed part does;
// nothing depends on it. The file is never seen half written.
func (u *up) notePid(part string, pid int) {
	_ = os.MkdirAll(u.at("run"), 0o750)
	file := filepath.Join(u.at("run"), part+".pid")
	if err := os.WriteFile(file+".new", []byte(strconv.Itoa(pid)+"\n"), 0o600); err == nil {
		_ = os.Rename(file+".new", file)
	}
}

// ended is told of a part that nobody stopped.
func (u *up) ended(part string, err error) {
	u.daemons.Lock()
	r := u.daemons.parts[part]
	if r != nil {
		r.ends = slices.DeleteFunc(r.ends, func(at time.Time) bool { return time.Since(at) > restartWindow })
		r.ends = append(r.ends, time.Now())
	}
	hopeless := r == nil || len(r.ends) > restarts
	u.daemons.Unlock()
	if hopeless {
		u.Failed(part, err)
		return
	}
	// Not on the caller's goroutine, which is the one that collects the process.
	go func() {
		began := time.Now()
		if again := r.process.Restart(context.Background()); again != nil {
			u.Failed(part, fmt.Errorf("%w; it could not be started again: %w", err, again))
			return
		}
		u.notePid(part, r.process.Pid())
		u.Progress(part, "ended by itself and was started again", time.Since(began))
	}()
}
