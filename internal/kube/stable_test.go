package kube

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waybill-dev/waybill/signals"
)

func (l *lane) observe() signals.Snapshot {
	l.t.Helper()
	s, err := client.Observe(l.t.Context(), l.target)
	require.NoError(l.t, err)
	return s
}

func (l *lane) restore(to signals.Snapshot) {
	l.t.Helper()
	require.NoError(l.t, client.Restore(l.t.Context(), signals.RestoreInput{DeployInput: l.input("v2"), To: to}))
}

func TestObserve(t *testing.T) {
	l := newLane(t, nil)
	l.await(signals.TrackStable, runs("v1"))
	s := l.observe()
	require.Equal(t, digest("v1"), s.Digest)
	require.Equal(t, image("v1"), s.Image)
	require.EqualValues(t, 2, s.Ready)
	require.False(t, s.CanaryExists)
	require.Len(t, s.Config, 2)
	require.Equal(t, signals.Digest(s.Template), s.TemplateHash)

	// The snapshot travels as JSON; its template must come through unchanged.
	text, err := json.Marshal(s)
	require.NoError(t, err)
	var back signals.Snapshot
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, s.TemplateHash, signals.Digest(back.Template))

	kept, err := clients.CoreV1().ConfigMaps(l.target.Namespace).Get(t.Context(), copyName(s.Config["ConfigMap/settings"]), metav1.GetOptions{})
	require.NoError(t, err)
	require.True(t, *kept.Immutable)
	require.Equal(t, map[string]string{"limit": "10"}, kept.Data)

	again := l.observe()
	again.At = s.At
	require.Equal(t, s, again)
}

func TestObserveByTag(t *testing.T) {
	l := newLane(t, func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = "registry.example:5000/payments-api:v1"
	})
	var s signals.Snapshot
	require.Eventually(t, func() bool {
		var err error
		s, err = client.Observe(t.Context(), l.target)
		return err == nil
	}, waitLong, tick)
	require.Equal(t, "registry.example:5000/payments-api@"+s.Digest, s.Image)

	require.NoError(t, client.SetImage(t.Context(), l.input("v2")))
	l.await(signals.TrackStable, runs("v2"))
	l.restore(s)
	require.Equal(t, s.Image, l.deployment("payments-api").Spec.Template.Spec.Containers[0].Image, "a tag may have moved; the digest has not")
}

func TestPromotionChangesTheImageAlone(t *testing.T) {
	l := newLane(t, nil)
	before := l.deployment("payments-api").Spec
	require.NoError(t, client.SetImage(t.Context(), l.input("v2")))
	require.NoError(t, client.SetImage(t.Context(), l.input("v2")))
	l.await(signals.TrackStable, runs("v2"))
	d := l.deployment("payments-api")
	before.Template.Spec.Containers[0].Image = image("v2")
	require.Equal(t, before, d.Spec)
	require.Equal(t, "payments", d.Annotations["team"])
	require.Equal(t, "CHG-1", d.Annotations[TicketAnnotation])
}

func TestRestoreUndoesTemplateAndConfig(t *testing.T) {
	l := newLane(t, nil)
	l.await(signals.TrackStable, runs("v1"))
	s := l.observe()
	namespace := l.target.Namespace

	// A release came with a changed image, environment, ConfigMap and Secret.
	require.NoError(t, client.SetImage(t.Context(), l.input("v2")))
	_, err := clients.AppsV1().Deployments(namespace).Patch(t.Context(), "payments-api", types.StrategicMergePatchType,
		[]byte(`{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"NEW","value":"1"}]}]}}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = clients.CoreV1().ConfigMaps(namespace).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"data":{"limit":"99","more":"x"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	require.NoError(t, clients.CoreV1().Secrets(namespace).Delete(t.Context(), "login", metav1.DeleteOptions{}))

	l.restore(s)
	l.await(signals.TrackStable, runs("v1"))
	after := l.observe()
	require.Equal(t, s.TemplateHash, after.TemplateHash)
	require.Equal(t, s.Config, after.Config)
	settings, err := clients.CoreV1().ConfigMaps(namespace).Get(t.Context(), "settings", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"limit": "10"}, settings.Data)

	generation := l.deployment("payments-api").Generation
	l.restore(s)
	require.Equal(t, generation, l.deployment("payments-api").Generation, "nothing to do the second time")
}

// TestRestoreOfConfigAloneRestartsPods: pods read their configuration at start.
func TestRestoreOfConfigAloneRestartsPods(t *testing.T) {
	l := newLane(t, nil)
	l.await(signals.TrackStable, runs("v1"))
	s := l.observe()
	change := func() {
		_, err := clients.CoreV1().ConfigMaps(l.target.Namespace).Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"data":{"limit":"99"}}`), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	before := l.deployment("payments-api").Generation
	change()
	l.restore(s)
	d := l.deployment("payments-api")
	require.Greater(t, d.Generation, before)
	require.NotContains(t, d.Annotations, restoringAnnotation)

	// The process dies after the configuration was written, before the restart.
	change()
	in := signals.RestoreInput{DeployInput: l.input("v3"), To: s}
	require.NoError(t, client.restoreConfig(t.Context(), in))
	between := l.deployment("payments-api").Generation
	require.NoError(t, client.Restore(t.Context(), in))
	require.Greater(t, l.deployment("payments-api").Generation, between)
	require.Equal(t, s.TemplateHash, l.observe().TemplateHash)
}

func TestRestoreReplacesImmutableConfig(t *testing.T) {
	l := newLane(t, nil)
	s := l.observe()
	maps := clients.CoreV1().ConfigMaps(l.target.Namespace)
	require.NoError(t, maps.Delete(t.Context(), "settings", metav1.DeleteOptions{}))
	_, err := maps.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Immutable: new(true), Data: map[string]string{"limit": "99"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	l.restore(s)
	restored, err := maps.Get(t.Context(), "settings", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "10", restored.Data["limit"])
	require.True(t, *restored.Immutable)
}

// TestRestoreWithoutItsCopy: lost configuration is said, and the image still goes
// back.
func TestRestoreWithoutItsCopy(t *testing.T) {
	l := newLane(t, nil)
	s := l.observe()
	maps := clients.CoreV1().ConfigMaps(l.target.Namespace)
	require.NoError(t, maps.Delete(t.Context(), copyName(s.Config["ConfigMap/settings"]), metav1.DeleteOptions{}))
	require.NoError(t, maps.Delete(t.Context(), "settings", metav1.DeleteOptions{}))
	require.NoError(t, client.SetImage(t.Context(), l.input("v2")))
	err := client.Restore(t.Context(), signals.RestoreInput{DeployInput: l.input("v2"), To: s})
	require.ErrorContains(t, err, "is gone")
	require.Equal(t, image("v1"), l.deployment("payments-api").Spec.Template.Spec.Containers[0].Image)
}

func TestKeptCopyThatWasReplacedIsNoticed(t *testing.T) {
	l := newLane(t, nil)
	s := l.observe()
	name := copyName(s.Config["ConfigMap/settings"])
	maps := clients.CoreV1().ConfigMaps(l.target.Namespace)
	require.NoError(t, maps.Delete(t.Context(), name, metav1.DeleteOptions{}))
	_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"limit": "0"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.Observe(t.Context(), l.target)
	requireConflict(t, err, "somebody replaced it")
}

func TestRestoreGrowsAShrunkStable(t *testing.T) {
	l := newLane(t, nil)
	s := l.observe()
	shrink(t, l, 1)
	l.restore(s)
	require.EqualValues(t, 2, *l.deployment("payments-api").Spec.Replicas)
}
