package deploy

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/testtools"
	"github.com/waybill-dev/waybill/signals"
)

// TestNamespaceScript runs the script that prepares Temporal, twice, against a
// real server, and asks the server for the search attributes of the contract.
func TestNamespaceScript(t *testing.T) {
	address := startTemporal(t)
	temporal, err := testtools.Tool(t.Context(), "temporal")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), temporal, "operator", "search-attribute", "list",
		"--address="+address, "--namespace=waybill", "--output=json").Output()
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
