package stack

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/objectstore"
)

func TestSettingsStayUnlessAPortIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "settings.json")
	first, err := loadSettings(path, false)
	require.NoError(t, err)
	seen := map[int]bool{}
	for name, port := range first.Ports {
		require.False(t, seen[port], "%s has the port of another part", name)
		seen[port] = true
	}
	require.NotEqual(t, first.Accounts.Notary.Secret, first.Accounts.Auditor.Secret)

	again, err := loadSettings(path, false)
	require.NoError(t, err)
	require.Equal(t, first, again)

	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", first.local(portRegistry))
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	moved, err := loadSettings(path, false)
	require.NoError(t, err)
	require.NotEqual(t, first.Ports[portRegistry], moved.Ports[portRegistry])
	moved.Ports[portRegistry] = first.Ports[portRegistry]
	require.Equal(t, first, moved)

	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err = loadSettings(path, false)
	require.ErrorContains(t, err, "remove it for new ones")
}

func TestStateIsReadBackAndForgotten(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "keys"), 0o700))
	_, err := Read(dir)
	require.ErrorIs(t, err, ErrNone)
	want := State{
		Name: "waybill", Dir: dir, Pid: 1, Started: time.Now().UTC().Truncate(time.Second), Gateway: "http://127.0.0.1:8080",
		ObjectStore: "http://127.0.0.1:7070", Bucket: "evidence", EvidenceKeys: []string{"a.pub", "b.pub"},
	}
	require.NoError(t, want.save(objectstore.Credentials{Access: "auditor", Secret: "secret"}))
	got, err := Read(dir)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, []string{
		"AWS_ACCESS_KEY_ID=auditor", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-east-1",
		"AWS_ENDPOINT_URL_S3=http://127.0.0.1:7070", "WAYBILL_BUCKET=evidence", "WAYBILL_EVIDENCE_KEYS=a.pub,b.pub",
	}, Layout{dir}.AuditorEnv())
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	require.NoError(t, err)
	require.Contains(t, string(env), "export WAYBILL_GATEWAY='http://127.0.0.1:8080'\n")
	require.NoError(t, Forget(dir))
	require.NoError(t, Forget(dir))
	_, err = Read(dir)
	require.ErrorIs(t, err, ErrNone)
}
