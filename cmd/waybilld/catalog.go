package main

import (
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/waybill-dev/waybill/internal/catalog"
)

// liveCatalog follows the catalog's files: they are read again for each plan,
// which costs milliseconds. A catalog that has become invalid is not used; the
// last valid one stays, and the fault is logged and counted.
type liveCatalog struct {
	dir   string
	valid prometheus.Gauge
	log   *slog.Logger

	mu    sync.Mutex
	good  *catalog.Catalog
	fault string // the last one told, so that it is told once
}

// openCatalog fails if the catalog is invalid to begin with.
func openCatalog(dir string, metrics prometheus.Registerer, log *slog.Logger) (*liveCatalog, error) {
	good, err := catalog.Load(dir)
	if err != nil {
		return nil, err
	}
	l := &liveCatalog{dir: dir, good: good, log: log, valid: promauto.With(metrics).NewGauge(prometheus.GaugeOpts{
		Name: "waybill_catalog_valid",
		Help: "1 if the catalog's files are valid, 0 if the last valid ones are in use instead.",
	})}
	l.valid.Set(1)
	return l, nil
}

// Entry is the entry of a service in an environment, as of now.
func (l *liveCatalog) Entry(service, environment string) (catalog.Entry, error) {
	return l.current().Entry(service, environment)
}

// current is the catalog as its files are now, else as they last were valid.
func (l *liveCatalog) current() *catalog.Catalog {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh, err := catalog.Load(l.dir)
	if err != nil {
		l.valid.Set(0)
		if err.Error() != l.fault {
			l.log.Error("catalog is invalid; the last valid one stays in use", "directory", l.dir, "error", err)
			l.fault = err.Error()
		}
		return l.good
	}
	if fresh.Digest() != l.good.Digest() {
		l.log.Info("catalog changed", "directory", l.dir, "digest", fresh.Digest())
	}
	l.valid.Set(1)
	l.good, l.fault = fresh, ""
	return l.good
}
