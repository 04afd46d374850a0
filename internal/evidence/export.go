package evidence

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Export copies what src holds under the root folder into the folder to, which
// must not hold a copy yet, and writes a VersionsFile. Of each key the version
// written first is kept, which is the record if there is one. It returns how
// many objects were copied.
func Export(ctx context.Context, src Source, name, to string, now time.Time) (int, error) {
	if _, err := os.Stat(filepath.Join(to, Root)); err == nil {
		return 0, fmt.Errorf("folder %s holds a copy already; name an empty one", to)
	}
	if err := os.MkdirAll(filepath.Join(to, Root), 0o750); err != nil {
		return 0, err
	}
	inventory := Inventory{Source: name, TakenAt: now.UTC()}
	copied := 0
	for f, err := range folders(src.List(ctx, Root)) {
		if err != nil {
			return copied, fmt.Errorf("list %s: %w", name, err)
		}
		for _, all := range f.keys {
			recorded, err := export(ctx, src, all, to)
			if err != nil {
				return copied, fmt.Errorf("copy %s: %w", all[0].Key, err)
			}
			inventory.Objects = append(inventory.Objects, recorded...)
			copied++
		}
	}
	if !src.Versioned() {
		return copied, nil
	}
	raw, err := json.MarshalIndent(inventory, "", " ")
	if err != nil {
		return copied, err
	}
	return copied, os.WriteFile(filepath.Join(to, VersionsFile), raw, 0o600)
}

func export(ctx context.Context, src Source, all versions, to string) ([]Recorded, error) {
	key := all[0].Key
	if !filepath.IsLocal(filepath.FromSlash(key)) {
		return nil, fmt.Errorf("the key leads out of the folder")
	}
	original, found := all.original()
	var recorded []Recorded
	for _, v := range all {
		r := Recorded{Object: v}
		if !v.DeleteMarker {
			content, err := src.Read(ctx, v)
			if err != nil {
				return nil, err
			}
			r.Lock = content.Lock
			if found && v.Version == original.Version {
				if err := writeFile(filepath.Join(to, filepath.FromSlash(key)), content.Body); err != nil {
					return nil, err
				}
			}
		}
		recorded = append(recorded, r)
	}
	return recorded, nil
}

func writeFile(path string, body []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o600)
}
