// Package registry is the local stack's image registry: go-containerregistry's,
// with the OCI referrers API, whose content outlives a restart.
package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

// maxManifest bounds a manifest's size, as registries do.
const maxManifest = 4 << 20

// Registry serves the distribution API from a folder. The library keeps blobs
// on disk but manifests in memory, so each accepted change of a manifest goes
// into a journal, which is played back at the start.
type Registry struct {
	inner http.Handler

	mu      sync.Mutex
	journal *os.File
}

// change is one line of the journal.
type change struct {
	Method      string `json:"method"`
	Path        string `json:"path"`
	ContentType string `json:"contentType,omitempty"`
	Body        []byte `json:"body,omitempty"`
}

// Open makes a registry whose content lies in dir.
func Open(dir string) (*Registry, error) {
	blobs := filepath.Join(dir, "blobs")
	if err := os.MkdirAll(blobs, 0o750); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	quiet := slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)
	r := &Registry{inner: registry.New(registry.Logger(quiet), registry.WithReferrersSupport(true),
		registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)))}
	journal, err := os.OpenFile(filepath.Join(dir, "manifests.jsonl"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	if err := r.play(journal); err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	r.journal = journal
	return r, nil
}

// play repeats the journal. A last line that a crash cut short is dropped: its
// change was never answered.
func (r *Registry) play(journal *os.File) error {
	decoder := json.NewDecoder(journal)
	for {
		end := decoder.InputOffset()
		var c change
		err := decoder.Decode(&c)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			if err := journal.Truncate(end); err != nil {
				return fmt.Errorf("registry: drop an unfinished line of %s: %w", journal.Name(), err)
			}
			return nil
		case err != nil:
			return fmt.Errorf("registry: %s is damaged (remove its folder to start anew): %w", journal.Name(), err)
		}
		w := httptest.NewRecorder()
		r.inner.ServeHTTP(w, c.request())
		if w.Code >= http.StatusBadRequest {
			return fmt.Errorf("registry: %s: %s %s is answered with %d", journal.Name(), c.Method, c.Path, w.Code)
		}
	}
}

func (c change) request() *http.Request {
	request := httptest.NewRequest(c.Method, c.Path, bytes.NewReader(c.Body)) //nolint:noctx // served within this process, at the start
	request.Header.Set("Content-Type", c.ContentType)
	return request
}

// ServeHTTP answers from the library's registry; a change of a manifest is
// answered once it is in the journal.
func (r *Registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	changes := request.Method == http.MethodPut || request.Method == http.MethodDelete
	if !changes || !strings.Contains(request.URL.Path, "/manifests/") {
		r.inner.ServeHTTP(w, request)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxManifest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	r.mu.Lock()
	r.inner.ServeHTTP(answer, request)
	if answer.Code < http.StatusBadRequest {
		err = r.note(change{
			Method: request.Method, Path: request.URL.Path, ContentType: request.Header.Get("Content-Type"), Body: body,
		})
	}
	r.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = answer.Body.WriteTo(w)
}

func (r *Registry) note(c change) error {
	line, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	if _, err := r.journal.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}

// Close ends the journal. The registry must not be served any more.
func (r *Registry) Close() error { return r.journal.Close() }
