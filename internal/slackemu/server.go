package slackemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Server is a workspace. It is an http.Handler: the API is below /api/, the page
// for people at /, the controls for tests below /emulator/.
type Server struct {
	opts   Options
	mux    *http.ServeMux
	client *http.Client
	ctx    context.Context //nolint:containedctx // ends what outlives its request: deliveries and sockets
	stop   context.CancelFunc
	work   sync.WaitGroup // deliveries under way, and the saver

	mu       sync.Mutex // guards all below
	world    world
	users    []User
	dirty    bool          // there is something to keep
	touched  time.Time     // when that last grew
	changed  chan struct{} // closed at each change, and replaced
	url      string
	socket   bool // callbacks go through Socket Mode
	faults   faultState
	triggers map[string]*trigger
	answers  map[string]*responseURL
	views    map[string]*view
	open     map[string][]string // by user: the stack of modals, the top last
	uploads  map[string]string   // upload ticket → file
	sockets  []*socket
	tickets  map[string]bool   // of sockets that may be opened
	notices  map[string]string // by user: what the page says on top until their next act
	nextID   int
}

// New makes a workspace, with the messages that an earlier one has kept.
func New(o Options) (*Server, error) {
	o.fill()
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		opts: o, ctx: ctx, stop: stop, users: o.Users, url: strings.TrimRight(o.URL, "/"), socket: o.SocketMode,
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		world:  newWorld(o.Channels), changed: make(chan struct{}),
		triggers: map[string]*trigger{}, answers: map[string]*responseURL{}, views: map[string]*view{}, open: map[string][]string{},
		uploads: map[string]string{}, tickets: map[string]bool{}, notices: map[string]string{},
	}
	if o.File != "" {
		raw, err := os.ReadFile(o.File)
		if err == nil {
			s.world, err = restore(raw, o.Channels)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			stop()
			return nil, fmt.Errorf("read the kept messages in %s (remove it to start with none): %w", o.File, err)
		}
		s.work.Go(s.keep)
	}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("/api/{method}", s.serveAPI)
	s.mux.HandleFunc("POST /upload/{ticket}", s.serveUpload)
	s.mux.HandleFunc("GET /files-pri/{id}/{name}", s.serveFile)
	s.mux.HandleFunc("POST /response/{id}", s.serveResponse)
	s.mux.HandleFunc("GET /link/{ticket}", s.serveSocket)
	s.control()
	s.pages()
	return s, nil
}

// ServeHTTP answers the API, the page and the controls.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.opts.URL == "" {
		s.mu.Lock()
		s.url = "http://" + r.Host
		s.mu.Unlock()
	}
	s.mux.ServeHTTP(w, r)
}

// Close ends sockets and deliveries and keeps what there is to keep.
func (s *Server) Close() error {
	s.stop()
	s.mu.Lock()
	for _, c := range s.sockets {
		c.close()
	}
	s.mu.Unlock()
	s.work.Wait()
	return s.save()
}

// touch tells that something changed. The caller holds the lock.
func (s *Server) touch() {
	s.dirty, s.touched = true, time.Now()
	close(s.changed)
	s.changed = make(chan struct{})
}

// id makes an id of Slack's kind: a letter and digits. The caller holds the lock.
func (s *Server) id(prefix string) string {
	s.nextID++
	return fmt.Sprintf("%s%X", prefix, time.Now().UnixNano()/1000*100+int64(s.nextID%100))
}

// Messages are kept once it has been quiet for a while, since that takes the
// longer the more there are; but a crash loses no more than saveAtLatest.
const (
	quiet        = 2 * time.Second
	saveAtLatest = 30 * time.Second
)

func (s *Server) keep() {
	ticker := time.NewTicker(quiet / 2)
	defer ticker.Stop()
	saved := time.Now()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		touched := s.touched
		s.mu.Unlock()
		if time.Since(touched) < quiet && time.Since(saved) < saveAtLatest {
			continue
		}
		if err := s.save(); err != nil {
			s.opts.Log.Error("messages not kept", "error", err)
		}
		saved = time.Now()
	}
}

func (s *Server) save() error {
	s.mu.Lock()
	if s.opts.File == "" || !s.dirty {
		s.mu.Unlock()
		return nil
	}
	raw, err := json.Marshal(s.world)
	s.dirty = false
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("keep the messages: %w", err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(s.opts.File), 0o750), os.WriteFile(s.opts.File+".new", raw, 0o600)); err != nil {
		return fmt.Errorf("keep the messages: %w", err)
	}
	if err := os.Rename(s.opts.File+".new", s.opts.File); err != nil {
		return fmt.Errorf("keep the messages: %w", err)
	}
	return nil
}

// writeJSON answers with a document as Slack writes it: without escaping & < >
// a second time.
func writeJSON(w http.ResponseWriter, status int, value any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}
