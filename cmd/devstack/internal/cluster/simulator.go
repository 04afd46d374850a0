package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// ProcessAnnotation holds, on a pod of a simulated cluster, the address
// (host:port) of the local process that stands in for it. It is set once the
// process is ready.
const ProcessAnnotation = "waybill.dev/process"

// simulator is the part of a kubelet, and of the controller that routes
// Services to pods, that a simulated cluster needs.
type simulator struct {
	sup     *proc.Supervisor
	client  kubernetes.Interface
	address string
	images  string

	pods     corelisters.PodLister
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	changed  chan struct{}

	mu       sync.Mutex
	standIns map[types.UID]*standIn
}

// standIn is the local process for one pod.
type standIn struct {
	pod     *corev1.Pod
	port    int
	process *proc.Process // nil while it starts
}

func newSimulator(sup *proc.Supervisor, client kubernetes.Interface, address, images string) *simulator {
	return &simulator{
		sup: sup, client: client, address: address, images: images,
		changed: make(chan struct{}, 1), standIns: map[types.UID]*standIn{},
	}
}

// run starts the simulator; it goes on until ctx ends.
func (s *simulator) run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(s.client, 0)
	s.pods = factory.Core().V1().Pods().Lister()
	s.services = factory.Core().V1().Services().Lister()
	s.slices = factory.Discovery().V1().EndpointSlices().Lister()
	watched := []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(), factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer(),
	}
	for _, informer := range watched {
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { s.touch() }, UpdateFunc: func(any, any) { s.touch() }, DeleteFunc: func(any) { s.touch() },
		})
		if err != nil {
			return fmt.Errorf("watch the simulated cluster: %w", err)
		}
	}
	factory.Start(ctx.Done())
	go func() {
		for _, informer := range watched {
			cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.changed:
			case <-time.After(2 * time.Second): // what failed is tried again
			}
			if err := s.reconcile(ctx); err != nil && ctx.Err() == nil {
				slog.Warn("simulated cluster: will try again", "err", err)
			}
		}
	}()
	return nil
}

func (s *simulator) touch() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// reconcile brings processes and endpoints in line with pods and Services.
func (s *simulator) reconcile(ctx context.Context) error {
	pods, err := s.pods.List(labels.Everything())
	if err != nil {
		return err
	}
	s.mu.Lock()
	ended := map[types.UID]*standIn{}
	for uid, in := range s.standIns {
		if in.process != nil {
			ended[uid] = in
		}
	}
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil || pod.Spec.NodeName != nodeName {
			continue
		}
		delete(ended, pod.UID)
		if _, known := s.standIns[pod.UID]; !known {
			in := &standIn{pod: pod.DeepCopy()}
			s.standIns[pod.UID] = in
			go s.start(ctx, in)
		}
	}
	for uid := range ended {
		delete(s.standIns, uid)
	}
	var ready []standIn
	for _, in := range s.standIns {
		if in.process != nil {
			ready = append(ready, *in)
		}
	}
	s.mu.Unlock()

	err = s.route(ctx, ready)
	// No request goes to these any more once the ingress has seen the slices;
	// what is on its way is the program's to finish after SIGTERM.
	for _, in := range ended {
		go func() {
			if err := in.process.Stop(ctx); err != nil {
				slog.Warn("simulated pod does not end", "pod", in.pod.Name, "err", err)
			}
		}()
	}
	return err
}

// start runs a pod's program and annotates the pod when it is ready. On an
// error the pod is forgotten, and the next look starts it anew.
func (s *simulator) start(ctx context.Context, in *standIn) {
	process, err := s.launch(ctx, in)
	if err == nil {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, ProcessAnnotation, net.JoinHostPort(s.address, strconv.Itoa(in.port)))
		_, err = s.client.CoreV1().Pods(in.pod.Namespace).Patch(ctx, in.pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			err = errors.Join(err, process.Stop(ctx))
		}
	}
	s.mu.Lock()
	if err == nil {
		in.process = process
	} else {
		delete(s.standIns, in.pod.UID)
	}
	s.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		slog.Warn("simulated pod does not start", "pod", in.pod.Namespace+"/"+in.pod.Name, "err", err)
		return
	}
	s.touch()
}

// launch starts the program of the pod's first container. It is told where to
// listen by LISTEN, since all pods share this machine's address.
func (s *simulator) launch(ctx context.Context, in *standIn) (*proc.Process, error) {
	container := in.pod.Spec.Containers[0]
	program, err := unpack(ctx, container.Image, s.images)
	if err != nil {
		return nil, err
	}
	env, err := environment(ctx, s.client, in.pod.Namespace, container)
	if err != nil {
		return nil, err
	}
	if in.port, err = s.freePort(ctx); err != nil {
		return nil, err
	}
	listen := net.JoinHostPort(s.address, strconv.Itoa(in.port))
	part := proc.Part{
		Name: "pod-" + in.pod.Namespace + "-" + in.pod.Name, Path: program.path, Args: append(program.args, container.Args...),
		Env: append(append(program.env, env...), "LISTEN="+listen), Dir: program.root, Ready: proc.TCPReady(listen),
	}
	if probe := container.ReadinessProbe; probe != nil && probe.HTTPGet != nil {
		part.Ready = proc.HTTPReady("http://" + listen + probe.HTTPGet.Path)
	}
	if grace := in.pod.Spec.TerminationGracePeriodSeconds; grace != nil {
		part.StopGrace = time.Duration(*grace) * time.Second
	}
	start, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return s.sup.Start(start, part)
}

// freePort finds a port on the address that the pods share.
func (s *simulator) freePort(ctx context.Context) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(s.address, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
