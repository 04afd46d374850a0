package slackemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack/slacktest"
)

// pingEvery keeps sockets open; clients give up after 30 s without.
const pingEvery = 5 * time.Second

// writeTime bounds a write to a socket whose other end does not read.
const writeTime = 5 * time.Second

// socket is one Socket Mode connection of the app.
type socket struct {
	conn    *websocket.Conn
	writing sync.Mutex
	mu      sync.Mutex
	waiting map[string]chan json.RawMessage // by envelope id
	leaving bool                            // told to reconnect: gets no more envelopes
	gone    chan struct{}
	once    sync.Once
}

func (c *socket) close() {
	c.once.Do(func() {
		close(c.gone)
		_ = c.conn.Close()
	})
}

func (c *socket) write(value any) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	return c.conn.WriteJSON(value)
}

func (s *Server) openConnection(call) (object, error) {
	ticket := s.id("S")
	s.tickets[ticket] = true
	return object{"url": "ws" + s.url[len("http"):] + "/link/" + ticket}, nil
}

// serveSocket upgrades a connection that apps.connections.open gave the address
// of, and reads the app's acknowledgements from it.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	ticket := r.PathValue("ticket")
	s.mu.Lock()
	good := s.tickets[ticket] && !s.down()
	delete(s.tickets, ticket)
	s.mu.Unlock()
	if !good {
		http.Error(w, "this address was used, or never given", http.StatusForbidden)
		return
	}
	slacktest.Websocket(func(conn *websocket.Conn) {
		c := &socket{conn: conn, waiting: map[string]chan json.RawMessage{}, gone: make(chan struct{})}
		s.mu.Lock()
		s.sockets = append(s.sockets, c)
		n := len(s.sockets)
		s.mu.Unlock()
		defer s.drop(c)
		hello := object{
			"type": "hello", "num_connections": n, "connection_info": object{"app_id": s.opts.AppID},
			"debug_info": object{"host": "applink-0", "build_number": 1, "approximate_connection_time": 18060},
		}
		if err := c.write(hello); err != nil {
			return
		}
		go c.ping()
		for {
			var ack struct {
				EnvelopeID string          `json:"envelope_id"`
				Payload    json.RawMessage `json:"payload"`
			}
			if err := conn.ReadJSON(&ack); err != nil {
				return
			}
			c.mu.Lock()
			if waiting, ok := c.waiting[ack.EnvelopeID]; ok {
				waiting <- ack.Payload
				delete(c.waiting, ack.EnvelopeID)
			}
			c.mu.Unlock()
		}
	})(w, r)
}

func (c *socket) ping() {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		if err := c.conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(writeTime)); err != nil {
			return
		}
		select {
		case <-c.gone:
			return
		case <-ticker.C:
		}
	}
}

func (s *Server) drop(c *socket) {
	c.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets = slices.DeleteFunc(slices.Clone(s.sockets), func(other *socket) bool { return other == c })
}

// Disconnect asks every socket to connect anew, as Slack does now and then, and
// closes it a moment later.
func (s *Server) Disconnect(reason string) {
	s.mu.Lock()
	sockets := s.sockets
	s.mu.Unlock()
	for _, c := range sockets {
		c.mu.Lock()
		c.leaving = true
		c.mu.Unlock()
		_ = c.write(object{"type": "disconnect", "reason": reason, "debug_info": object{"host": "applink-0"}})
		s.work.Go(func() {
			sleep(s.ctx, time.Second)
			c.close()
		})
	}
}

// sendSocket delivers a callback through the newest socket.
func (s *Server) sendSocket(ctx context.Context, cb callback, attempt int, reason string) ([]byte, error) {
	c := s.newestSocket()
	if c == nil {
		return nil, errors.New("no socket of the app is open")
	}
	s.mu.Lock()
	id := s.id("E")
	s.mu.Unlock()
	answer := make(chan json.RawMessage, 1)
	c.mu.Lock()
	c.waiting[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()
	envelope := object{"type": cb.kind, "envelope_id": id, "payload": cb.payload, "accepts_response_payload": cb.respond}
	if attempt > 0 {
		envelope["retry_attempt"], envelope["retry_reason"] = attempt, reason
	}
	if err := c.write(envelope); err != nil {
		return nil, fmt.Errorf("write to the socket: %w", err)
	}
	select {
	case body := <-answer:
		if !cb.respond {
			return nil, nil
		}
		return body, nil
	case <-c.gone:
		return nil, errors.New("the socket was closed before an answer")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Server) newestSocket() *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range slices.Backward(s.sockets) {
		c.mu.Lock()
		leaving := c.leaving
		c.mu.Unlock()
		if !leaving {
			return c
		}
	}
	return nil
}
