package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// VersionsFile is the file beside a copy's root folder that keeps what a plain
// copy loses: versions, delete markers and locks.
const VersionsFile = "versions.json"

// Inventory is the content of VersionsFile: what a bucket held at a moment,
// newest version of a key first.
type Inventory struct {
	Source  string     `json:"source"`
	TakenAt time.Time  `json:"takenAt"`
	Objects []Recorded `json:"objects"`
}

// Recorded is one object version or delete marker with its lock.
type Recorded struct {
	Object
	Lock *Lock `json:"lock,omitempty"`
}

// Folder is a copy of a bucket as plain files at the same keys.
type Folder struct {
	root      string
	inventory map[string][]Recorded
}

// OpenFolder reads a copy made with any S3 tool, or by Export. With a
// VersionsFile in it versions, markers and locks are judged too; that file is
// as trustworthy as whoever made the copy.
func OpenFolder(root string) (*Folder, error) {
	if info, err := os.Stat(filepath.Join(root, Root)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("folder %s holds no %q; name the folder that a bucket was copied into", root, Root)
	}
	f := &Folder{root: root}
	raw, err := os.ReadFile(filepath.Join(root, VersionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	} else if err != nil {
		return nil, err
	}
	var inventory Inventory
	if err := json.Unmarshal(raw, &inventory); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", VersionsFile, root, err)
	}
	f.inventory = map[string][]Recorded{}
	for _, r := range inventory.Objects {
		f.inventory[r.Key] = append(f.inventory[r.Key], r)
	}
	return f, nil
}

// Versioned tells whether the copy came with its VersionsFile.
func (f *Folder) Versioned() bool { return f.inventory != nil }

// List yields the files under prefix, and the versions that the inventory knows
// of them; of a key that has no file only the delete markers.
func (f *Folder) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if f.inventory != nil {
			f.listInventory(ctx, prefix, yield)
			return
		}
		for key, err := range f.files(ctx, prefix) {
			if !yield(Object{Key: key, Latest: true}, err) || err != nil {
				return
			}
		}
	}
}

var errStop = errors.New("stop")

// files walks the copy without holding its list of names.
func (f *Folder) files(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		start := filepath.Join(f.root, filepath.FromSlash(prefix))
		err := filepath.WalkDir(start, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(f.root, path)
			if err == nil && !yield(filepath.ToSlash(name), nil) {
				return errStop
			}
			return err
		})
		if err != nil && !errors.Is(err, errStop) && !errors.Is(err, fs.ErrNotExist) {
			yield("", err)
		}
	}
}

func (f *Folder) listInventory(ctx context.Context, prefix string, yield func(Object, error) bool) {
	there := map[string]bool{}
	for key, err := range f.files(ctx, prefix) {
		if err != nil {
			yield(Object{}, err)
			return
		}
		there[key] = true
	}
	names := maps.Clone(there)
	for key := range f.inventory {
		if strings.HasPrefix(key, prefix) {
			names[key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(names)) {
		known := f.inventory[key]
		if len(known) == 0 && !yield(Object{Key: key, Latest: true}, nil) {
			return
		}
		for _, r := range known {
			if (there[key] || r.DeleteMarker) && !yield(r.Object, nil) {
				return
			}
		}
	}
}

// Folders returns the names of the folders directly under prefix.
func (f *Folder) Folders(_ context.Context, prefix string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(f.root, filepath.FromSlash(prefix)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Read returns the file at the object's key, with the lock that the inventory
// knows of the version.
func (f *Folder) Read(_ context.Context, o Object) (Content, error) {
	file, err := os.Open(filepath.Join(f.root, filepath.FromSlash(o.Key)))
	if err != nil {
		return Content{}, err
	}
	defer file.Close()
	body, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	c := Content{Body: body}
	for _, r := range f.inventory[o.Key] {
		if r.Version == o.Version {
			c.Lock = r.Lock
		}
	}
	return c, err
}
