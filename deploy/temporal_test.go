package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/kube/kubetest"
	"github.com/waybill-dev/waybill/signals"
)

// TestNamespaceScript runs the script that prepares Temporal, twice, against a
// real server, and asks the server for the search attributes of the contract.
func TestNamespaceScript(t *testing.T) {
	temporal, err := kubetest.Tool(t.Context(), "temporal")
	require.NoError(t, err)
	ports, err := kubetest.FreePorts(t.Context(), 1)
	require.NoError(t, err)
	env := append(os.Environ(),
		"PATH="+filepath.Dir(temporal)+":"+os.Getenv("PATH"), "HOME="+t.TempDir(),
		fmt.Sprintf("TEMPORAL_ADDRESS=127.0.0.1:%d", ports[0]), "TEMPORAL_NAMESPACE=waybill")
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
		cmd.Env = env
		cmd.WaitDelay = time.Minute
		return cmd
	}
	start(t, command(temporal, "server", "start-dev", "--headless", "--ip=127.0.0.1", fmt.Sprintf("--port=%d", ports[0])))
	for range 2 {
		out, err := command("/bin/sh", "temporal/namespace.sh").CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
	}

	out, err := command(temporal, "operator", "search-attribute", "list", "--output=json").Output()
	require.NoError(t, err)
	var listed struct {
		CustomAttributes map[string]string `json:"customAttributes"`
	}
	require.NoErrorf(t, json.Unmarshal(out, &listed), "%s", out)
	registered := map[string]string{}
	for name := range signals.SearchAttributeTypes() {
		registered[name] = map[string]string{"INDEXED_VALUE_TYPE_KEYWORD": "Keyword", "INDEXED_VALUE_TYPE_INT": "Int"}[listed.CustomAttributes[name]]
	}
	require.Equalf(t, signals.SearchAttributeTypes(), registered, "the server lists %s", out)
}
