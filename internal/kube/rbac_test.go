package kube

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/waybill-dev/waybill/signals"
)

// shippedRole reads the ClusterRole that the kustomize base gives the deploy role.
func shippedRole(t *testing.T) *rbacv1.ClusterRole {
	t.Helper()
	text, err := os.ReadFile("../../deploy/kustomize/base/rbac.yaml")
	require.NoError(t, err)
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var role rbacv1.ClusterRole
		require.NoError(t, yaml.Unmarshal([]byte(document), &role))
		if role.Kind == "ClusterRole" && role.Name == "waybill-delivery" {
			return &role
		}
	}
	t.Fatal("deploy/kustomize/base/rbac.yaml has no ClusterRole waybill-delivery")
	return nil
}

// TestShippedRoleSuffices releases and rolls back with the permissions that the
// manifests grant and no others.
func TestShippedRoleSuffices(t *testing.T) {
	s := releaseAs(t, shippedRole(t))
	require.True(t, signals.ValidDigest(s.Config["Secret/login"]))
}

// TestWithoutSecrets is a platform that keeps Secrets from Waybill: they are named
// as unreadable and left alone, and everything else works.
func TestWithoutSecrets(t *testing.T) {
	role := shippedRole(t)
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "secrets") })
	s := releaseAs(t, role)
	require.Equal(t, Unreadable, s.Config["Secret/login"])
}

// releaseAs goes forward and back with the power of one role and returns the
// snapshot that it went back to.
func releaseAs(t *testing.T, role *rbacv1.ClusterRole) signals.Snapshot {
	t.Helper()
	l := newLane(t, nil)
	l.await(signals.TrackStable, runs("v1"))
	role.GenerateName, role.Name = role.Name+"-", ""
	role, err := clients.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = clients.RbacV1().RoleBindings(l.target.Namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "waybill"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "worker-deploy"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	config := rest.CopyConfig(administrator)
	config.Impersonate = rest.ImpersonationConfig{UserName: "worker-deploy"}
	limited, err := New(config)
	require.NoError(t, err)

	_, err = limited.Observe(t.Context(), signals.Target{Namespace: "kube-system", Stable: "payments-api"})
	require.ErrorContains(t, err, `User "worker-deploy" cannot get resource "deployments"`)
	var s signals.Snapshot
	require.Eventually(t, func() bool { // the server's authorizer learns of the binding
		s, err = limited.Observe(t.Context(), l.target)
		return err == nil
	}, waitLong, tick)
	require.True(t, signals.ValidDigest(s.Config["ConfigMap/settings"]))
	require.NoError(t, limited.ApplyCanary(t.Context(), l.canary("v2", 1)))
	require.NoError(t, limited.SetImage(t.Context(), l.input("v2")))
	require.NoError(t, limited.Scale(t.Context(), l.target, 3))
	_, err = clients.CoreV1().ConfigMaps(l.target.Namespace).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"data":{"limit":"99"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	if s.Config["Secret/login"] != Unreadable {
		require.NoError(t, clients.CoreV1().Secrets(l.target.Namespace).Delete(t.Context(), "login", metav1.DeleteOptions{}))
	}
	require.NoError(t, limited.Restore(t.Context(), signals.RestoreInput{DeployInput: l.input("v2"), To: s}))
	require.NoError(t, limited.RemoveCanary(t.Context(), l.target))
	after, err := limited.Observe(t.Context(), l.target)
	require.NoError(t, err)
	require.Equal(t, s.TemplateHash, after.TemplateHash)
	require.Equal(t, s.Config, after.Config)
	return s
}
