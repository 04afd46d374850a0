package oidcissuer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// patch is the body of a SCIM PATCH request.
type patch struct {
	Schemas    []string    `json:"schemas"`
	Operations []operation `json:"Operations"`
}

type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path,omitempty"`
	Value json.RawMessage `json:"value,omitempty"`
}

// scimPatch changes who is active and in which groups.
func (i *Issuer) scimPatch(r *http.Request) (any, error) {
	var p patch
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		return nil, badPatch("invalidSyntax", "the body is no PATCH request: %v", err)
	}
	if !slices.Contains(p.Schemas, patchSchema) || len(p.Operations) == 0 {
		return nil, badPatch("invalidSyntax", "want schemas [%q] and at least one operation", patchSchema)
	}
	id := r.PathValue("id")
	changed, found, err := i.storage.people.amend(id, func(one *person) error {
		for _, op := range p.Operations {
			if err := op.apply(one); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, noUser(id)
	}
	return i.scimUser(changed), nil
}

func (o operation) apply(to *person) error {
	op, path := strings.ToLower(o.Op), strings.ToLower(o.Path)
	switch {
	case op == "replace" && path == "":
		return o.applyAll(to)
	case op == "replace" && path == "active":
		return o.read(&to.active)
	case op == "replace" && path == "groups":
		to.Groups = nil
		return o.addGroups(to)
	case op == "add" && path == "groups":
		return o.addGroups(to)
	case op == "remove" && path == "groups":
		to.Groups = nil
		return nil
	case op == "remove" && strings.HasPrefix(path, "groups["):
		return o.leave(to)
	}
	return badPatch("invalidPath", `operation %q of %q: active can be replaced; groups can be replaced, added, or removed by groups[value eq "NAME"]`, o.Op, o.Path)
}

// applyAll replaces the attributes that the value names.
func (o operation) applyAll(to *person) error {
	var fields map[string]json.RawMessage
	if err := o.read(&fields); err != nil {
		return err
	}
	for path, value := range fields {
		if err := (operation{Op: o.Op, Path: path, Value: value}).apply(to); err != nil {
			return err
		}
	}
	return nil
}

func (o operation) addGroups(to *person) error {
	var groups []scimGroup
	if err := o.read(&groups); err != nil {
		return err
	}
	for _, g := range groups {
		if !slices.Contains(to.Groups, g.Value) {
			to.Groups = append(to.Groups, g.Value)
		}
	}
	return nil
}

func (o operation) leave(to *person) error {
	filter := equals.FindStringSubmatch(strings.TrimSuffix(o.Path[len("groups["):], "]"))
	var name string
	if len(filter) != 3 || json.Unmarshal([]byte(filter[2]), &name) != nil {
		return badPatch("invalidPath", `path %q: want groups[value eq "NAME"]`, o.Path)
	}
	to.Groups = slices.DeleteFunc(to.Groups, func(g string) bool { return g == name })
	return nil
}

func (o operation) read(into any) error {
	if err := json.Unmarshal(o.Value, into); err != nil {
		return badPatch("invalidValue", "operation %q of %q: %v", o.Op, o.Path, err)
	}
	return nil
}

// Standing is how an account stands in the company; nil fields are left as they
// are. Groups that are empty but not nil take the account out of all.
type Standing struct {
	Active *bool
	Groups []string
}

// Amend changes how an account stands, at the directory of a running issuer and
// with its admin token: from then on directory and logins follow it.
func Amend(ctx context.Context, issuer, token, account string, to Standing) error {
	change := patch{Schemas: []string{patchSchema}}
	replace := func(path string, value any) error {
		raw, err := json.Marshal(value)
		change.Operations = append(change.Operations, operation{Op: "replace", Path: path, Value: raw})
		return err
	}
	if to.Active != nil {
		if err := replace("active", *to.Active); err != nil {
			return err
		}
	}
	if to.Groups != nil {
		groups := make([]scimGroup, len(to.Groups))
		for i, name := range to.Groups {
			groups[i] = scimGroup{Value: name, Display: name}
		}
		if err := replace("groups", groups); err != nil {
			return err
		}
	}
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, issuer+SCIMPath+"/Users/"+url.PathEscape(account), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("change the standing of %s: %w", account, err)
	}
	request.Header.Set("Content-Type", "application/scim+json")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := browser().Do(request)
	if err != nil {
		return fmt.Errorf("change the standing of %s: %w", account, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // it only explains the status
		return fmt.Errorf("change the standing of %s: the issuer answered %s: %s", account, response.Status, answer)
	}
	return nil
}

// Amend changes how an account stands at this issuer.
func (i *Issuer) Amend(ctx context.Context, account string, to Standing) error {
	return Amend(ctx, i.URL, i.storage.secrets.Admin, account, to)
}
