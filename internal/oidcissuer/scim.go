package oidcissuer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// SCIMPath is where the directory of the accounts is served: SCIM 2.0 (RFC 7644),
// as far as finding people and changing who is active and in which groups.
const SCIMPath = "/scim/v2"

const (
	userSchema   = "urn:ietf:params:scim:schemas:core:2.0:User"
	listSchema   = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	patchSchema  = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	errorSchema  = "urn:ietf:params:scim:api:messages:2.0:Error"
	configSchema = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
)

type scimUser struct {
	Schemas     []string    `json:"schemas"`
	ID          string      `json:"id"`
	ExternalID  string      `json:"externalId"`
	UserName    string      `json:"userName"`
	DisplayName string      `json:"displayName"`
	Active      bool        `json:"active"`
	Emails      []scimEmail `json:"emails"`
	Groups      []scimGroup `json:"groups"`
	Meta        scimMeta    `json:"meta"`
}

type scimEmail struct {
	Value   string `json:"value"`
	Type    string `json:"type"`
	Primary bool   `json:"primary,omitempty"`
}

type scimGroup struct {
	Value   string `json:"value"`
	Display string `json:"display"`
}

type scimMeta struct {
	ResourceType string `json:"resourceType"`
	Location     string `json:"location"`
}

// scimError is an error as a SCIM service tells it; kind is its scimType.
type scimError struct {
	status int
	kind   string
	detail string
}

func (e scimError) Error() string { return e.detail }

func badPatch(kind, format string, args ...any) error {
	return scimError{status: http.StatusBadRequest, kind: kind, detail: fmt.Sprintf(format, args...)}
}

// scimHandler serves the directory to those who bear one of the two tokens.
func (i *Issuer) scimHandler() http.Handler {
	mux := http.NewServeMux()
	reads := func(serve func(*http.Request) (any, error)) http.Handler {
		return i.guarded(serve, i.storage.secrets.Directory, i.storage.secrets.Admin)
	}
	mux.Handle("GET "+SCIMPath+"/ServiceProviderConfig", reads(func(*http.Request) (any, error) { return providerConfig(), nil }))
	mux.Handle("GET "+SCIMPath+"/Users", reads(i.scimList))
	mux.Handle("GET "+SCIMPath+"/Users/{id}", reads(i.scimGet))
	mux.Handle("PATCH "+SCIMPath+"/Users/{id}", i.guarded(i.scimPatch, i.storage.secrets.Admin))
	mux.HandleFunc(SCIMPath+"/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, scimError{status: http.StatusNotFound, detail: r.Method + " " + r.URL.Path + " is not offered"})
	})
	return mux
}

// guarded answers those who bear one of tokens.
func (i *Issuer) guarded(serve func(*http.Request) (any, error), tokens ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !slices.ContainsFunc(tokens, func(token string) bool { return same(token, bearer) }) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, scimError{status: http.StatusUnauthorized, detail: "send the bearer token that this needs"})
			return
		}
		answer, err := serve(r)
		if err != nil {
			refuse(w, err)
			return
		}
		answerSCIM(w, http.StatusOK, answer)
	})
}

func refuse(w http.ResponseWriter, err error) {
	fault := scimError{status: http.StatusInternalServerError, detail: err.Error()}
	_ = errors.As(err, &fault)
	body := map[string]any{"schemas": []string{errorSchema}, "status": strconv.Itoa(fault.status), "detail": fault.detail}
	if fault.kind != "" {
		body["scimType"] = fault.kind
	}
	answerSCIM(w, fault.status, body)
}

func answerSCIM(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/scim+json")
	w.WriteHeader(status)
	// If the client is gone there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the types above can all be encoded
}

func providerConfig() any {
	off := map[string]any{"supported": false}
	return map[string]any{
		"schemas": []string{configSchema}, "patch": map[string]any{"supported": true},
		"filter": map[string]any{"supported": true, "maxResults": len(Accounts())},
		"bulk":   map[string]any{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"sort":   off, "etag": off, "changePassword": off,
		"authenticationSchemes": []any{map[string]any{"type": "oauthbearertoken", "name": "Bearer token", "description": "A token of the local stack"}},
	}
}

func (i *Issuer) scimUser(p person) scimUser {
	user := scimUser{
		Schemas: []string{userSchema}, ID: p.ID, ExternalID: p.ID, UserName: p.ID, DisplayName: p.ID, Active: p.active,
		Emails: []scimEmail{{Value: p.Email(), Type: "work", Primary: true}}, Groups: []scimGroup{},
		Meta: scimMeta{ResourceType: "User", Location: i.URL + SCIMPath + "/Users/" + p.ID},
	}
	for _, address := range p.Emails {
		user.Emails = append(user.Emails, scimEmail{Value: address, Type: "other"})
	}
	for _, group := range p.Groups {
		user.Groups = append(user.Groups, scimGroup{Value: group, Display: group})
	}
	return user
}

func (i *Issuer) scimGet(r *http.Request) (any, error) {
	found, ok := i.storage.people.get(r.PathValue("id"))
	if !ok || found.Machine {
		return nil, noUser(r.PathValue("id"))
	}
	return i.scimUser(found), nil
}

func noUser(id string) error {
	return scimError{status: http.StatusNotFound, detail: fmt.Sprintf("no user %q", id)}
}

func (i *Issuer) scimList(r *http.Request) (any, error) {
	matches, err := parseFilter(r.FormValue("filter"))
	if err != nil {
		return nil, err
	}
	found := []scimUser{}
	for _, p := range i.storage.people.all() {
		if user := i.scimUser(p); matches(user) {
			found = append(found, user)
		}
	}
	total := len(found)
	start, count := number(r.FormValue("startIndex"), 1, 1), number(r.FormValue("count"), total, 0)
	found = found[min(start-1, total):]
	found = found[:min(count, len(found))]
	return map[string]any{
		"schemas": []string{listSchema}, "totalResults": total, "startIndex": start, "itemsPerPage": len(found), "Resources": found,
	}, nil
}

// number reads a count of a page; what is no number, or below the least, is taken
// as RFC 7644 says.
func number(text string, absent, least int) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return absent
	}
	return max(n, least)
}

// equals is the one form of filter that is understood.
var equals = regexp.MustCompile(`(?i)^\s*([a-z.]+)\s+eq\s+("(?:[^"\\]|\\.)*")\s*$`)

// parseFilter understands comparisons of a user's names with one value.
func parseFilter(text string) (func(scimUser) bool, error) {
	if text == "" {
		return func(scimUser) bool { return true }, nil
	}
	parts := equals.FindStringSubmatch(text)
	var value string
	if len(parts) != 3 || json.Unmarshal([]byte(parts[2]), &value) != nil {
		return nil, badPatch("invalidFilter", `filter %q: only ATTRIBUTE eq "VALUE" is understood`, text)
	}
	switch strings.ToLower(parts[1]) {
	case "id":
		return func(u scimUser) bool { return u.ID == value }, nil
	case "externalid":
		return func(u scimUser) bool { return u.ExternalID == value }, nil
	case "username":
		return func(u scimUser) bool { return strings.EqualFold(u.UserName, value) }, nil
	case "emails", "emails.value":
		return func(u scimUser) bool {
			return slices.ContainsFunc(u.Emails, func(e scimEmail) bool { return strings.EqualFold(e.Value, value) })
		}, nil
	}
	return nil, badPatch("invalidFilter", "filter %q: users can be found by id, externalId, userName and emails.value", text)
}
