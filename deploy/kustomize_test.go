package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/waybill-dev/waybill/internal/kube/kubetest"
	"github.com/waybill-dev/waybill/internal/testtools"
)

// TestKustomizeBase applies the rendered manifests to a real API server and asks
// it what they amount to.
func TestKustomizeBase(t *testing.T) {
	server := startCluster(t)
	base := server.render(t, "kustomize/base")
	_, err := server.kubectl(t, base, "apply", "--server-side", "-f", "-")
	require.NoError(t, err)
	governed := server.render(t, governedOverlay(t, "payments-prod"))
	_, err = server.kubectl(t, governed, "apply", "--server-side", "-f", "-")
	require.NoError(t, err)

	t.Run("applying again changes nothing", func(t *testing.T) {
		out, err := server.kubectl(t, slices.Concat(base, []byte("\n---\n"), governed), "diff", "--server-side", "-f", "-")
		require.NoErrorf(t, err, "%s", out)
	})
	t.Run("every role has its own account and no other", func(t *testing.T) {
		accounts := map[string]string{}
		for _, d := range deployments(t, base) {
			accounts[d.Name] = d.Spec.Template.Spec.ServiceAccountName
		}
		require.Equal(t, map[string]string{
			"worker-release": "worker-release", "worker-deploy": "worker-deploy", "notary": "notary", "worker-notify": "worker-notify", "gateway": "gateway",
		}, accounts)
	})
	t.Run("keys", func(t *testing.T) { testKeys(t, deployments(t, base)) })
	t.Run("power", func(t *testing.T) { testPower(t, server) })
	t.Run("pod security", func(t *testing.T) { testPodSecurity(t, server, deployments(t, base)) })
}

// testKeys checks that a private key is mounted in the one role that it is for.
func testKeys(t *testing.T, all []appsv1.Deployment) {
	t.Helper()
	holders := map[string][]string{}
	for _, d := range all {
		for _, volume := range d.Spec.Template.Spec.Volumes {
			if volume.Secret != nil {
				holders[volume.Secret.SecretName] = append(holders[volume.Secret.SecretName], d.Name)
			}
		}
	}
	require.Equal(t, []string{"notary"}, holders["waybill-notary"])
	require.Equal(t, []string{"gateway"}, holders["waybill-gateway"])
	require.Equal(t, []string{"worker-notify"}, holders["waybill-notify"])
	require.ElementsMatch(t, []string{"gateway", "worker-release"}, holders["waybill-directory"])
}

// testPower asks the server's authorizer what each account may do. Outside a
// governed namespace, and for every role but delivery, the answer is nothing.
func testPower(t *testing.T, server *cluster) {
	t.Helper()
	delivery := []access{
		{"create", "apps", "deployments"}, {"patch", "apps", "deployments"}, {"delete", "apps", "deployments"},
		{"create", "", "configmaps"}, {"create", "", "services"}, {"get", "", "secrets"}, {"update", "", "secrets"}, {"list", "", "pods"}, {"list", "apps", "replicasets"},
		{"get", "gateway.networking.k8s.io", "httproutes"}, {"patch", "gateway.networking.k8s.io", "httproutes"},
	}
	forbidden := []access{
		{"list", "", "secrets"}, {"watch", "", "secrets"}, {"create", "", "pods"}, {"create", "", "pods/exec"}, {"create", "", "serviceaccounts/token"},
		{"create", "rbac.authorization.k8s.io", "rolebindings"}, {"delete", "gateway.networking.k8s.io", "httproutes"},
		{"update", "", "namespaces"}, {"list", "", "nodes"}, {"impersonate", "", "serviceaccounts"},
	}
	roles := []string{"worker-release", "worker-deploy", "notary", "worker-notify", "gateway"}
	namespaces := []string{"payments-prod", "waybill", "kube-system", "default"}
	wanted := map[question]bool{}
	for _, role := range roles {
		for _, namespace := range namespaces {
			for _, a := range delivery {
				wanted[question{role, namespace, a}] = role == "worker-deploy" && namespace == "payments-prod"
			}
			for _, a := range forbidden {
				wanted[question{role, namespace, a}] = false
			}
		}
	}
	require.Equal(t, wanted, server.review(t, slices.Collect(maps.Keys(wanted))))
}

// access is a verb on a resource, question whether a role has it in a namespace.
type (
	access   struct{ verb, group, resource string }
	question struct {
		role, namespace string
		access          access
	}
)

// review answers the questions by the server's authorizer, in one call.
func (c *cluster) review(t *testing.T, questions []question) map[question]bool {
	t.Helper()
	var manifest bytes.Buffer
	for _, q := range questions {
		resource, subresource, _ := strings.Cut(q.access.resource, "/")
		review, err := yaml.Marshal(authorizationv1.SubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User:   "system:serviceaccount:waybill:" + q.role,
				Groups: []string{"system:serviceaccounts", "system:serviceaccounts:waybill", "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: q.namespace, Verb: q.access.verb, Group: q.access.group, Resource: resource, Subresource: subresource,
				},
			},
		})
		require.NoError(t, err)
		manifest.WriteString("---\n")
		manifest.Write(review)
	}
	out, err := c.kubectl(t, manifest.Bytes(), "create", "-f", "-", "-o", `go-template={{.status.allowed}} `)
	require.NoError(t, err)
	answers := strings.Fields(out)
	require.Len(t, answers, len(questions))
	reviewed := map[question]bool{}
	for i, q := range questions {
		reviewed[q] = answers[i] == "true"
	}
	return reviewed
}

// testPodSecurity makes a pod of each Deployment's template, which the server
// must admit under the namespace's "restricted" standard, and one that it must
// refuse, which shows that the standard is in force.
func testPodSecurity(t *testing.T, server *cluster, all []appsv1.Deployment) {
	t.Helper()
	create := func(d appsv1.Deployment, change func(*corev1.PodSpec)) error {
		pod := corev1.Pod{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{Name: d.Name, Namespace: d.Namespace, Labels: d.Spec.Template.Labels},
			Spec:       *d.Spec.Template.Spec.DeepCopy(),
		}
		change(&pod.Spec)
		manifest, err := yaml.Marshal(pod)
		require.NoError(t, err)
		_, err = server.kubectl(t, manifest, "create", "--dry-run=server", "-f", "-")
		return err
	}
	for _, d := range all {
		require.NoError(t, create(d, func(*corev1.PodSpec) {}))
		container := d.Spec.Template.Spec.Containers[0]
		require.Truef(t, *container.SecurityContext.ReadOnlyRootFilesystem, "%s: root file system", d.Name)
		require.NotNilf(t, container.ReadinessProbe, "%s: readiness probe", d.Name)
	}
	err := create(all[0], func(spec *corev1.PodSpec) { spec.HostNetwork = true })
	require.ErrorContains(t, err, `violates PodSecurity "restricted:latest": host namespaces`)
}

// cluster is a real control plane, asked by kubectl.
type cluster struct{ kubernetes, kubeconfig string }

func startCluster(t *testing.T) *cluster {
	t.Helper()
	binary, err := testtools.Tool(t.Context(), "kubernetes")
	require.NoError(t, err)
	server, err := kubetest.Start(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return &cluster{kubernetes: binary, kubeconfig: server.Kubeconfig}
}

// kubectl returns what kubectl printed; a failure carries its standard error.
func (c *cluster) kubectl(t *testing.T, stdin []byte, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.kubernetes, append([]string{"kubectl"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// render returns the manifests of a kustomization.
func (c *cluster) render(t *testing.T, dir string) []byte {
	t.Helper()
	out, err := c.kubectl(t, nil, "kustomize", dir)
	require.NoError(t, err)
	return []byte(out)
}

// governedOverlay writes the overlay that kustomize/governed documents and
// returns its folder.
func governedOverlay(t *testing.T, namespace string) string {
	t.Helper()
	dir := t.TempDir()
	governed, err := filepath.Abs("kustomize/governed")
	require.NoError(t, err)
	relative, err := filepath.Rel(dir, governed)
	require.NoError(t, err)
	overlay := fmt.Sprintf("resources: [%s]\nnamespace: %s\n", relative, namespace)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(overlay), 0o600))
	return dir
}

// deployments returns the Deployments among rendered manifests, each decoded
// strictly: a misspelt field fails.
func deployments(t *testing.T, manifests []byte) []appsv1.Deployment {
	t.Helper()
	var found []appsv1.Deployment
	documents := yamlutil.NewDocumentDecoder(io.NopCloser(bytes.NewReader(manifests)))
	for {
		buffer := make([]byte, 1<<20)
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		var kind metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal(buffer[:n], &kind))
		if kind.Kind != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		require.NoError(t, yaml.UnmarshalStrict(buffer[:n], &d))
		found = append(found, d)
	}
	require.NotEmpty(t, found)
	return found
}
