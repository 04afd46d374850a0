package cluster

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

func TestMain(m *testing.M) {
	proc.Reexec()
	os.Exit(m.Run())
}

func TestTry(t *testing.T) {
	dir := t.TempDir()
	began := time.Now()
	s, err := proc.New(dir)
	require.NoError(t, err)
	s.OnExit(func(part string, err error) { t.Errorf("%s: %v", part, err) })
	tools, _ := filepath.Abs("/tmp/kubetools")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, err := Start(ctx, s, Options{Name: "try", StateDir: dir, Tools: tools, Progress: func(p string, took time.Duration) { t.Log(p, took, time.Since(began)) }})
	t.Log(c, err, time.Since(began))
	if d := os.Getenv("HOLD"); d != "" && err == nil {
		hold, _ := time.ParseDuration(d)
		os.WriteFile("/tmp/hold", []byte(c.Kubeconfig), 0o600)
		for end := time.Now().Add(hold); time.Now().Before(end); time.Sleep(time.Second) {
			if _, err := os.Stat("/tmp/hold"); err != nil {
				break
			}
		}
	}
	began = time.Now()
	require.NoError(t, s.Stop(t.Context()))
	t.Log("stopped", time.Since(began))
	os.RemoveAll("/tmp/lastkube")
	os.CopyFS("/tmp/lastkube", os.DirFS(dir+"/logs"))
	require.NoError(t, err)
}
