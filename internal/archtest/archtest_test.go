package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/waybill-dev/waybill"

// cores are the internal packages without side effects, which activities may use.
var cores = []string{"internal/analysis", "internal/catalog", "internal/evidence"}

// sdks are the prefixes of the provider SDKs that stay behind adapters.
var sdks = map[string][]string{
	"Kubernetes": {"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery", "sigs.k8s.io/gateway-api", "sigs.k8s.io/controller-runtime"},
	"OPA":        {"github.com/open-policy-agent/opa"},
	"sigstore":   {"github.com/sigstore"},
	"Slack":      {"github.com/slack-go"},
	"AWS":        {"github.com/aws"},
	"registry":   {"github.com/google/go-containerregistry"},
}

// goPackage is the part of `go list -json` that the rules read.
type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// list returns the module's packages, each with its dependencies in full.
func list(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	}
	require.NoError(t, err)
	packages := map[string]goPackage{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages[strings.TrimPrefix(p.ImportPath, module+"/")] = p
	}
}

// within tells whether the import path pkg is prefix or lies below it.
func within(pkg, prefix string) bool {
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

// under returns the packages in the folder dir, which must be there: a rule over
// no package would hold whatever the code does.
func under(t *testing.T, packages map[string]goPackage, dir string) []goPackage {
	t.Helper()
	var found []goPackage
	for name, p := range packages {
		if within(name, dir) {
			found = append(found, p)
		}
	}
	require.NotEmpty(t, found, "no package under %s", dir)
	return found
}

// own returns those of the import paths that are of this module, without its path.
func own(imports []string) []string {
	var names []string
	for _, imported := range imports {
		if within(imported, module) {
			names = append(names, strings.TrimPrefix(imported, module+"/"))
		}
	}
	return names
}

func TestImportDirection(t *testing.T) {
	packages := list(t)
	allowed := map[string][]string{
		"signals":    {"signals"},
		"activities": append([]string{"activities", "signals"}, cores...),
		"workflows":  {"workflows", "activities", "signals"},
	}
	for dir, may := range allowed {
		for _, p := range under(t, packages, dir) {
			for _, imported := range own(p.Imports) {
				ok := slices.ContainsFunc(may, func(prefix string) bool { return within(imported, prefix) })
				require.Truef(t, ok, "%s imports %s; packages under %s may import of this module only %v", p.ImportPath, imported, dir, may)
			}
		}
	}
}

func TestProviderSDKsStayBehindAdapters(t *testing.T) {
	packages := list(t)
	keptOut := map[string][]string{
		"signals":    {"Kubernetes", "OPA", "sigstore", "Slack", "AWS", "registry"},
		"activities": {"Kubernetes", "OPA", "sigstore", "Slack", "AWS", "registry"},
		"workflows":  {"Kubernetes", "OPA", "sigstore", "Slack", "AWS", "registry"},
		// The client reads evidence from the bucket and tests policies on the
		// developer's machine; it never talks to a cluster or to Slack.
		"cmd/waybill": {"Kubernetes", "Slack"},
	}
	for _, core := range cores {
		keptOut[core] = []string{"Kubernetes", "OPA", "Slack", "AWS", "registry"}
	}
	for dir, providers := range keptOut {
		for _, p := range under(t, packages, dir) {
			for _, provider := range providers {
				for _, dep := range p.Deps {
					hit := slices.ContainsFunc(sdks[provider], func(prefix string) bool { return within(dep, prefix) })
					require.Falsef(t, hit, "%s depends on %s, which is of %s; see `go mod why %s`", p.ImportPath, dep, provider, dep)
				}
			}
		}
	}
}

// fronts are the packages through which people and CI reach the gateway: HTTP, the
// page and Slack.
var fronts = []string{"internal/api", "internal/decide", "internal/slackapp"}

// exceptions are the adapters that an adapter may import all the same.
func exceptions() map[string][]string {
	allowed := map[string][]string{
		// The desk does what a front was asked for. It is told who asks, and signs
		// what leaves, in terms of auth; it answers in the API's types.
		"internal/desk": {"internal/auth", "internal/api/wire"},
		// Signatures are fetched by the client that resolved the image, so that
		// both see the registry by the same rules (plain HTTP, errors, retries).
		"internal/sigstore": {"internal/registry"},
		// The people in the emulated workspace are those whom the local issuer knows.
		"internal/slackemu": {"internal/oidcissuer"},
	}
	// The fronts share one desk, so that a decision is checked, signed and
	// delivered by the same code whichever way it came. They don't know each other.
	for _, front := range fronts {
		allowed[front] = []string{"internal/desk", "internal/auth", "internal/api/wire"}
	}
	return allowed
}

// TestAdaptersAreWiredByCommands keeps adapters apart: what puts them together is
// a command. Packages named …test support other packages' tests and are free.
func TestAdaptersAreWiredByCommands(t *testing.T) {
	allowed := exceptions()
	for name, p := range list(t) {
		if within(name, "cmd") || strings.HasSuffix(name, "test") {
			continue
		}
		for _, imported := range own(p.Imports) {
			if !within(imported, "internal") || slices.ContainsFunc(cores, func(core string) bool { return within(imported, core) }) {
				continue
			}
			adapter := strings.Join(strings.Split(imported, "/")[:2], "/")
			if within(name, adapter) || slices.Contains(allowed[name], imported) {
				continue
			}
			t.Errorf("%s imports the adapter %s; only cmd/ may (the cores are %v)", path.Join(module, name), imported, cores)
		}
	}
}

// TestExceptionsAreNeeded has exceptions go when the code no longer makes use of
// them.
func TestExceptionsAreNeeded(t *testing.T) {
	packages := list(t)
	for name, imports := range exceptions() {
		for _, imported := range imports {
			// A front need not use all that fronts may.
			if !slices.Contains(fronts, name) {
				require.Contains(t, packages[name].Imports, path.Join(module, imported), "%s no longer imports %s: drop the exception", name, imported)
			}
		}
	}
}
