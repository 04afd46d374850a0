package seed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

// Environment is one place that the demo service runs in.
type Environment struct {
	Name      string
	Namespace string
	// Host is what the route matches.
	Host string
}

// Environments are those of the catalog entry.
func Environments() []Environment {
	return []Environment{
		{Name: "staging", Namespace: "payments-staging", Host: "payments-staging.example"},
		{Name: "prod", Namespace: "payments-prod", Host: "payments-prod.example"},
	}
}

// Namespaces lists the environments' namespaces.
func Namespaces() []string {
	var names []string
	for _, e := range Environments() {
		names = append(names, e.Namespace)
	}
	return names
}

// Cluster is where the environments are made.
type Cluster struct {
	Kubectl    []string // the command and its first arguments
	Kubeconfig string
	Root       string // of the repository
}

// Deploy makes an environment that runs image as stable, and waits until its
// pods are ready.
func (c Cluster) Deploy(ctx context.Context, e Environment, image string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	manifest, err := render(filepath.Join(c.Root, "deploy", "demo", "manifests", "payments-api.yaml.tmpl"), "{{", "}}", struct {
		Environment
		Image string
	}{e, image})
	if err != nil {
		return err
	}
	if _, err := c.kubectl(ctx, manifest, "apply", "--server-side", "--field-manager=payments-team", "-f", "-"); err != nil {
		return err
	}
	_, err = c.kubectl(ctx, nil, "rollout", "status", "deployment/"+Service, "--namespace="+e.Namespace, "--timeout=150s")
	return err
}

// Stable returns the image that the environment's stable track is to run, or ""
// if there is no such Deployment.
func (c Cluster) Stable(ctx context.Context, e Environment) (string, error) {
	return c.kubectl(ctx, nil, "get", "deployment", Service, "--namespace="+e.Namespace, "--ignore-not-found",
		"--output=jsonpath={.spec.template.spec.containers[?(@.name==\"app\")].image}")
}

func (c Cluster) kubectl(ctx context.Context, stdin []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Kubectl[0], slices.Concat(c.Kubectl[1:], args)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	cmd.Stdin = bytes.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// Catalog writes the demo service's catalog entry to dir.
func Catalog(root, dir, registry, cluster, keys string) error {
	entry, err := render(filepath.Join(root, "deploy", "demo", "catalog", "payments-api.yaml.tmpl"), "[[", "]]", struct {
		Registry, Cluster, KeysDir, Source, Builder string
	}{registry, cluster, keys, source, builder})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, Service+".yaml"), entry, 0o600); err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	return nil
}

func render(file, left, right string, data any) ([]byte, error) {
	t, err := template.New(filepath.Base(file)).Delims(left, right).Option("missingkey=error").ParseFiles(file)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("template %s: %w", file, err)
	}
	return out.Bytes(), nil
}
