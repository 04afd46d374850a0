package policies

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/waybill-dev/waybill/internal/catalog"
	"github.com/waybill-dev/waybill/signals"
)

const (
	query = "data.waybill.release.result"
	// decideTimeout bounds one decision. Policies call nothing outside, so one
	// that takes this long is a defect of theirs.
	decideTimeout = 10 * time.Second
)

// Engine evaluates one bundle of policies. It may be used by many at once.
type Engine struct {
	prepared rego.PreparedEvalQuery
	digest   string
	authors  []signals.Contributor
}

// Load reads the OPA bundle in dir and compiles it once. Tests of policies
// (*_test.rego) are no part of the bundle; the authors file beside them is,
// although no policy sees it.
func Load(ctx context.Context, dir string) (*Engine, error) {
	files, err := read(dir)
	if err != nil {
		return nil, fmt.Errorf("policies %s: %w", dir, err)
	}
	var authors catalog.Authors
	if file, ok := files[catalog.AuthorsFile]; ok {
		if authors, err = catalog.ParseAuthors(file.Data); err != nil {
			return nil, fmt.Errorf("policies %s: %w", dir, err)
		}
	}
	loader, err := bundle.NewFSLoader(files)
	if err != nil {
		return nil, fmt.Errorf("policies %s: %w", dir, err)
	}
	loaded, err := bundle.NewCustomReader(loader).WithBundleName("waybill").Read()
	if err != nil {
		return nil, fmt.Errorf("policies %s: %w", dir, err)
	}
	prepared, err := rego.New(
		rego.Query(query),
		rego.ParsedBundle("waybill", &loaded),
		rego.Strict(true),
		rego.StrictBuiltinErrors(true),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("policies %s: %w", dir, err)
	}
	return &Engine{prepared: prepared, digest: digest(files), authors: authors.All()}, nil
}

// read takes the bundle's files into memory, so that what is digested is what
// is evaluated.
func read(dir string) (fstest.MapFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // only read from
	files := fstest.MapFS{}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !belongs(name) {
			return err
		}
		content, err := fs.ReadFile(root.FS(), name)
		files[name] = &fstest.MapFile{Data: content, Mode: 0o444}
		return err
	})
	if err == nil && files[".manifest"] == nil {
		err = errors.New("no .manifest there; want the folder of an OPA bundle")
	}
	return files, err
}

// belongs tells whether the file at this path in the folder is part of a bundle.
func belongs(file string) bool {
	name := path.Base(file)
	policy := path.Ext(name) == ".rego" && !strings.HasSuffix(name, "_test.rego")
	return policy || name == "data.json" || name == ".manifest" || file == catalog.AuthorsFile
}

// digest is "sha256:<hex>" over the names and contents of the files in order of
// name, each with its length, so that no two bundles run together to the same
// bytes.
func digest(files fstest.MapFS) string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var text bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&text, "%s %d\n%s\n", name, len(files[name].Data), files[name].Data)
	}
	return signals.Digest(text.Bytes())
}

// Digest is the bundle's digest, "sha256:<hex>".
func (e *Engine) Digest() string { return e.digest }

// Authors are those who changed the policies, by the bundle's authors file; none
// if there is no such file.
func (e *Engine) Authors() []signals.Contributor { return e.authors }

// Decide evaluates the bundle on in. The output keeps the exact bytes that the
// policies saw, so that the decision can be computed again. A bundle that gives
// no result, or one that contradicts itself, is an error and never a yes.
func (e *Engine) Decide(ctx context.Context, in signals.PolicyInput) (signals.PolicyOutput, error) {
	input, err := json.Marshal(in)
	if err != nil {
		return signals.PolicyOutput{}, fmt.Errorf("policy input: %w", err)
	}
	result, err := e.evaluate(ctx, input)
	if err != nil {
		return signals.PolicyOutput{}, fmt.Errorf("policies %s on the plan %s: %w", e.digest, in.PlanDigest, err)
	}
	return signals.PolicyOutput{Result: result, Input: input, Policy: e.digest}, nil
}

func (e *Engine) evaluate(ctx context.Context, input []byte) (signals.PolicyResult, error) {
	var result signals.PolicyResult
	ctx, cancel := context.WithTimeout(ctx, decideTimeout)
	defer cancel()
	decoder := json.NewDecoder(bytes.NewReader(input))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return result, err
	}
	results, err := e.prepared.Eval(ctx, rego.EvalInput(document))
	if err != nil {
		return result, err
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return result, fmt.Errorf("%s is undefined; the policies can't judge this input", query)
	}
	text, err := json.Marshal(results[0].Expressions[0].Value)
	if err != nil {
		return result, err
	}
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&result); err != nil {
		return result, fmt.Errorf("%s is not a policy result: %w", query, err)
	}
	if result.Allow != (len(result.Reasons) == 0) {
		return result, fmt.Errorf("%s says allow is %t with %d reasons against it", query, result.Allow, len(result.Reasons))
	}
	return result, nil
}
