package slackemu

import (
	"encoding/json"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func (s *Server) getUploadURL(c call) (object, error) {
	size, err := strconv.Atoi(c.arg("length"))
	name := c.arg("filename")
	if err != nil || size <= 0 || size > maxBody || name == "" {
		return nil, refuse("invalid_arguments", "filename and length are needed, and length is at most 4 MiB here")
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	f := &file{
		ID: s.id("F"), Created: time.Now().Unix(), Name: name, Title: name, Mimetype: kind, User: s.opts.BotUser, Size: size,
		Filetype: strings.TrimPrefix(path.Ext(name), "."), Mode: "hosted", AltText: c.arg("alt_txt"),
	}
	s.world.Files[f.ID] = f
	ticket := s.id("T")
	s.uploads[ticket] = f.ID
	return object{"upload_url": s.url + "/upload/" + ticket, "file_id": f.ID}, nil
}

// serveUpload takes a file's bytes, raw or as the one part of a form.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	if lose, done := s.meddle(w, r, "upload"); done || lose {
		return
	}
	var source io.Reader = http.MaxBytesReader(w, r.Body, 2*maxBody)
	if form, err := r.MultipartReader(); err == nil {
		for {
			part, err := form.NextPart()
			if err != nil {
				http.Error(w, "no file in the form", http.StatusBadRequest)
				return
			}
			if part.FileName() != "" {
				source = part
				break
			}
		}
	}
	raw, err := io.ReadAll(source)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.world.Files[s.uploads[r.PathValue("ticket")]]
	if f == nil {
		http.Error(w, "no such upload", http.StatusNotFound)
		return
	}
	if len(raw) != f.Size {
		http.Error(w, "the length is not the announced one", http.StatusBadRequest)
		return
	}
	if err := s.putBytes(f, raw); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "OK - "+strconv.Itoa(len(raw)))
}

// putBytes keeps an upload, beside the messages if these are kept. The caller
// holds the lock, as that of bytesOf does.
func (s *Server) putBytes(f *file, raw []byte) error {
	f.There = true
	if s.opts.File == "" {
		f.raw = raw
		return nil
	}
	path := s.pathOf(f)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

func (s *Server) bytesOf(f *file) ([]byte, error) {
	if s.opts.File == "" {
		return f.raw, nil
	}
	return os.ReadFile(s.pathOf(f))
}

func (s *Server) pathOf(f *file) string { return filepath.Join(s.opts.File+".files", f.ID) }

func (s *Server) completeUpload(c call) (object, error) {
	var listed []struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
	if err := json.Unmarshal([]byte(c.arg("files")), &listed); err != nil || len(listed) == 0 {
		return nil, refuse("invalid_arguments", "files: want [{\"id\": …}]")
	}
	for _, one := range listed {
		if s.world.Files[one.ID] == nil || !s.world.Files[one.ID].There {
			return nil, refuse("file_not_found")
		}
	}
	var where *conversation
	if id := c.arg("channel_id"); id != "" {
		if where = s.world.byID(id); where == nil {
			return nil, refuse("invalid_channel")
		}
		if !where.Member {
			return nil, refuse("not_in_channel")
		}
	}
	var m *message
	if where != nil {
		m = s.botMessage()
		m.Subtype, m.Text, m.ThreadTS = "file_share", c.arg("initial_comment"), c.arg("thread_ts")
		if c.arg("blocks") != "" {
			blocks, err := s.parseBlocks(c.arg("blocks"), messageSurface)
			if err != nil {
				return nil, err
			}
			m.Blocks = blocks
		}
	}
	answer := []file{}
	for _, one := range listed {
		f := s.world.Files[one.ID]
		if one.Title != "" {
			f.Title = one.Title
		}
		f.URLPrivate = s.url + "/files-pri/" + f.ID + "/" + path.Base(f.Name)
		f.Permalink = f.URLPrivate
		answer = append(answer, f.public())
	}
	if m != nil {
		m.Files = answer
		where.add(m)
	}
	return object{"files": answer}, nil
}

func (s *Server) fileInfo(c call) (object, error) {
	f := s.world.Files[c.arg("file")]
	if f == nil {
		return nil, refuse("file_not_found")
	}
	return object{"file": f.public()}, nil
}

// serveFile shows a file to the page. Slack asks for a login here; whoever
// reaches the emulator is logged in as everybody.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f := s.world.Files[r.PathValue("id")]
	var raw []byte
	err := fs.ErrNotExist
	if f != nil && f.There {
		raw, err = s.bytesOf(f)
	}
	s.mu.Unlock()
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.Mimetype)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	_, _ = w.Write(raw)
}
