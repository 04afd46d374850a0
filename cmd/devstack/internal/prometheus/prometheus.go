// Package prometheus describes the local stack's Prometheus, which watches the
// pods of the demo service and the ingress once a second.
package prometheus

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"sigs.k8s.io/yaml"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
)

// Server says where Prometheus runs, on loopback, and what it watches.
type Server struct {
	Tools string
	Dir   string // configuration and data; the data is new at each start
	Port  int
	// Kubeconfig finds the pods, in Namespaces; those labelled with Service are
	// watched.
	Kubeconfig string
	Namespaces []string
	Service    string
	// Ingress is the URL of the ingress's metrics; "" for none.
	Ingress string
	// Others are host:port of more targets, by job.
	Others map[string]string
}

// URL is the server's.
func (s Server) URL() string { return "http://127.0.0.1:" + strconv.Itoa(s.Port) }

// Part writes the configuration and describes the server's process.
func (s Server) Part() (proc.Part, error) {
	config, err := s.config()
	if err != nil {
		return proc.Part{}, err
	}
	data, file := filepath.Join(s.Dir, "data"), filepath.Join(s.Dir, "prometheus.yml")
	if err := os.RemoveAll(data); err != nil {
		return proc.Part{}, fmt.Errorf("prometheus: %w", err)
	}
	if err := os.MkdirAll(data, 0o750); err != nil {
		return proc.Part{}, fmt.Errorf("prometheus: %w", err)
	}
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return proc.Part{}, fmt.Errorf("prometheus: %w", err)
	}
	return proc.Part{
		Name: "prometheus", Path: filepath.Join(s.Tools, "prometheus"),
		Args: []string{
			"--config.file=" + file, "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=6h",
			"--web.listen-address=127.0.0.1:" + strconv.Itoa(s.Port), "--log.level=warn",
			// Telemetry that has stopped must not answer for minutes more.
			"--query.lookback-delta=10s",
		},
		Ready: proc.HTTPReady(s.URL() + "/-/ready"),
	}, nil
}

type object = map[string]any

// config is Prometheus' configuration. A pod's series carry its namespace, its
// name, and as "workload" the Deployment that it says it belongs to.
func (s Server) config() ([]byte, error) {
	jobs := []object{{
		"job_name": s.Service,
		"kubernetes_sd_configs": []object{{
			"role": "pod", "kubeconfig_file": s.Kubeconfig, "namespaces": object{"names": s.Namespaces},
		}},
		"relabel_configs": []object{
			{"source_labels": []string{"__meta_kubernetes_pod_label_app_kubernetes_io_name"}, "regex": s.Service, "action": "keep"},
			{"source_labels": []string{"__meta_kubernetes_pod_phase"}, "regex": "Running", "action": "keep"},
			{"source_labels": []string{"__meta_kubernetes_namespace"}, "target_label": "namespace"},
			{"source_labels": []string{"__meta_kubernetes_pod_name"}, "target_label": "pod"},
			{"source_labels": []string{"__meta_kubernetes_pod_label_waybill_dev_workload"}, "target_label": "workload"},
		},
	}}
	if s.Ingress != "" {
		at, err := url.Parse(s.Ingress)
		if err != nil {
			return nil, fmt.Errorf("prometheus: address of the ingress's metrics: %w", err)
		}
		jobs = append(jobs, object{
			"job_name": "ingress", "metrics_path": at.Path, "static_configs": []object{{"targets": []string{at.Host}}},
		})
	}
	for job, target := range s.Others {
		jobs = append(jobs, object{"job_name": job, "scrape_interval": "5s", "static_configs": []object{{"targets": []string{target}}}})
	}
	out, err := yaml.Marshal(object{
		"global":         object{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"scrape_configs": jobs,
	})
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return out, nil
}
