package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/api/apitest"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/auth/authtest"
	"github.com/waybill-dev/waybill/signals"
)

func decision(verb string) string {
	return fmt.Sprintf(`{"decision":%q,"reason":"read it","planDigest":%q}`, verb, apitest.PlanDigest)
}

// journal waits until an entry says what.
func (d *office) journal(what, reason string) signals.RefusalStatement {
	d.t.Helper()
	var found signals.RefusalStatement
	require.Eventually(d.t, func() bool {
		entries, err := d.Journal(d.t.Context())
		if err != nil {
			return false
		}
		for _, e := range entries {
			if e.What == what && strings.Contains(strings.Join(e.Reasons, " "), reason) {
				found = e
				return true
			}
		}
		return false
	}, 20*time.Second, 100*time.Millisecond, "%s: %s", what, reason)
	return found
}

func TestWhatTheGatewayRefusesGoesToTheJournal(t *testing.T) {
	d := open(t)
	id := d.start("wait")
	stranger := authtest.Start(t)
	foreign := stranger.Token(t, "release-lead", []string{apitest.Approvers}, nil)
	for range 3 {
		headers := map[string]string{"Authorization": "Bearer " + foreign}
		require.Equal(t, http.StatusUnauthorized, d.callWith(headers, "", "POST", "/v1/releases/"+id+"/approvals", decision("approve"), nil))
	}
	token := d.journal("token", "not among the accepted issuers")
	assert.Equal(t, stranger.URL+"#release-lead", token.Claimed)
	assert.Nil(t, token.Subject, "nothing is proven of it")
	assert.Equal(t, "127.0.0.1", token.Remote)
	assert.Equal(t, id, token.About)
	assert.Equal(t, signals.JournalID, token.Release)

	require.Equal(t, http.StatusForbidden, d.call("developer", "POST", "/v1/releases/"+id+"/commands", `{"command":"abort","reason":"no"}`, nil))
	command := d.journal(signals.CommandMessage, "may not abort")
	assert.Equal(t, d.issuer.URL+"#developer", command.Subject.Key())
	assert.Equal(t, "api", command.Channel)

	stale := strings.Replace(decision("approve"), apitest.PlanDigest, apitest.OtherPlan, 1)
	require.Equal(t, http.StatusConflict, d.call("release-lead", "POST", "/v1/releases/"+id+"/approvals", stale, nil))
	d.journal(signals.ApprovalMessage, "not the "+apitest.OtherPlan)

	require.Equal(t, http.StatusForbidden, d.call("developer", "POST", "/v1/lanes/prod/payments-api/commands", `{"command":"freeze","reason":"no"}`, nil))
	lane := d.journal("lane-command", "may not freeze")
	assert.Equal(t, "lane/prod/payments-api", lane.About)

	// What the release itself refuses stands in its own papers.
	require.Equal(t, http.StatusForbidden, d.call("developer", "POST", "/v1/releases/"+id+"/approvals", decision("approve"), nil))
	require.Equal(t, http.StatusUnauthorized, d.call("", "GET", "/v1/releases/"+id, "", nil), "no token is no attempt")
	require.NoError(t, d.Desk.Close(t.Context()))
	entries, err := d.Journal(t.Context())
	require.NoError(t, err)
	total := 0
	for _, e := range entries {
		total += e.Count
		assert.NotContains(t, fmt.Sprint(e), foreign, "tokens are not written down")
	}
	assert.Equal(t, 6, total, "each attempt is counted once")
}

func TestAnIdempotencyKeyCountsOnce(t *testing.T) {
	d := open(t)
	id := d.start("wait")
	body := `{"command":"pause","reason":"lunch"}`
	key := map[string]string{"Idempotency-Key": "one"}
	path := "/v1/releases/" + id + "/commands"
	for range 2 {
		var receipt signals.Receipt
		require.Equal(t, http.StatusOK, d.callWith(key, "on-call", "POST", path, body, &receipt))
		assert.Equal(t, "paused before the next step", receipt.Message, "the answer is the first one's")
	}
	require.Equal(t, http.StatusOK, d.callWith(key, "on-call", "POST", path, `{"command":"resume","reason":"back"}`, nil), "another message under the same key is another message: %s", d.log)
	var problem wire.Problem
	require.Equal(t, http.StatusConflict, d.callWith(map[string]string{"Idempotency-Key": "two"}, "on-call", "POST", path, `{"command":"resume","reason":"back"}`, &problem))
	assert.Contains(t, problem.Detail, "not paused")
	require.Equal(t, http.StatusOK, d.callWith(key, "ci", "POST", path, body, nil), "somebody else's key is another key")
	var status wire.Release
	require.Equal(t, http.StatusOK, d.call("ci", "GET", "/v1/releases/"+id, "", &status))
	assert.Contains(t, status.Paused, "ci: lunch")
}

func TestCommandsReachTheRelease(t *testing.T) {
	d := open(t)
	id := d.start("wait")
	path := "/v1/releases/" + id
	var receipt signals.Receipt
	require.Equal(t, http.StatusOK, d.call("on-call", "POST", path+"/commands", `{"command":"extend","by":"10m","reason":"look longer"}`, &receipt))
	assert.Contains(t, receipt.Message, "10m0s longer")
	var problem wire.Problem
	require.Equal(t, http.StatusUnprocessableEntity, d.call("on-call", "POST", path+"/commands", `{"command":"extend","by":10,"reason":"x"}`, &problem))
	require.Equal(t, http.StatusUnprocessableEntity, d.call("on-call", "POST", path+"/commands", `{"command":"explode","reason":"x"}`, nil))
	require.Equal(t, http.StatusConflict, d.call("on-call", "POST", path+"/commands", `{"command":"retry","reason":"x"}`, &problem))
	assert.Contains(t, problem.Detail, "no undo has failed")

	require.Equal(t, http.StatusOK, d.call("on-call", "POST", path+"/commands", `{"command":"skip","reason":"known noise"}`, &receipt))
	require.NotEmpty(t, receipt.Pending)
	var status wire.Release
	require.Equal(t, http.StatusOK, d.call("ci", "GET", path, "", &status))
	require.Len(t, status.Pending, 1)
	assert.Equal(t, receipt.Pending, status.Pending[0].ID)
	approve := fmt.Sprintf(`{"decision":"approve","reason":"agreed","planDigest":%q,"command":%q}`, apitest.PlanDigest, receipt.Pending)
	require.Equal(t, http.StatusOK, d.call("release-lead", "POST", path+"/approvals", approve, nil))
	require.Equal(t, http.StatusOK, d.call("release-lead", "POST", path+"/approvals", decision("withdraw"), &receipt))
	assert.Equal(t, "withdrawn", receipt.Message)
	require.Equal(t, http.StatusOK, d.call("on-call", "POST", path+"/commands", `{"command":"rollback","reason":"bad"}`, nil))
	assert.Equal(t, signals.RolledBack, d.outcome(id).Outcome.Kind)
}

func TestLanesAreFrozenAndThawed(t *testing.T) {
	d := open(t)
	path := "/v1/lanes/prod/svc-" + auth.Nonce()[:8]
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	var problem wire.Problem
	require.Equal(t, http.StatusNotFound, d.call("on-call", "POST", path+"/commands", `{"command":"unfreeze","reason":"x"}`, &problem), "nothing to thaw")
	require.Equal(t, http.StatusOK, d.call("on-call", "POST", path+"/commands", `{"command":"freeze","until":"`+until+`","reason":"quarter end"}`, nil),
		"a lane that was never used can be frozen")
	var lane signals.LaneStatus
	require.Equal(t, http.StatusOK, d.call("ci", "GET", path, "", &lane))
	require.NotNil(t, lane.Frozen)
	assert.Equal(t, "quarter end", lane.Frozen.Reason)
	assert.Equal(t, until, lane.Frozen.Until.Format(time.RFC3339))
	for name, tc := range map[string]struct {
		body   string
		status int
	}{
		"past":              {`{"command":"freeze","until":"2020-01-01T00:00:00Z","reason":"x"}`, 422},
		"far":               {`{"command":"freeze","until":"2999-01-01T00:00:00Z","reason":"x"}`, 422},
		"unfreeze with end": {`{"command":"unfreeze","until":"` + until + `","reason":"x"}`, 422},
		"review of nothing": {`{"command":"close-review","reason":"x"}`, 422},
		"no reason":         {`{"command":"freeze"}`, 422},
		"no review due":     {`{"command":"close-review","reviewed":"r-1","reason":"x"}`, 409},
	} {
		assert.Equal(t, tc.status, d.call("on-call", "POST", path+"/commands", tc.body, nil), name)
	}
	require.Equal(t, http.StatusUnprocessableEntity, d.call("on-call", "POST", "/v1/lanes/Prod/x/commands", `{"command":"freeze","reason":"x"}`, nil))
	require.Equal(t, http.StatusOK, d.call("on-call", "POST", path+"/commands", `{"command":"unfreeze","reason":"done"}`, nil))
	lane = signals.LaneStatus{}
	require.Equal(t, http.StatusOK, d.call("ci", "GET", path, "", &lane))
	assert.Nil(t, lane.Frozen)
}

func TestAStepUpIsAnsweredWithThePage(t *testing.T) {
	d := open(t)
	id := d.start(apitest.ReasonStepUp)
	var problem wire.Problem
	require.Equal(t, http.StatusForbidden, d.call("release-lead", "POST", "/v1/releases/"+id+"/approvals", decision("approve"), &problem))
	assert.Equal(t, wire.StepUpProblem, problem.Type)
	assert.Equal(t, d.URL+"/decide/"+id, problem.Instance)
	assert.Contains(t, problem.Detail, "fresh login")
}

func TestCallersAreHeldToTheirRate(t *testing.T) {
	d := openWith(t, apitest.Options{Rates: api.Rates{
		Subject: api.Rate{PerSecond: 0.001, Burst: 3}, Address: api.Rate{PerSecond: 0.001, Burst: 12},
	}})
	ask := func(who string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL+"/v1/whoami", http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+d.token(who))
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		return res.StatusCode, res.Header.Get("Retry-After")
	}
	for range 3 {
		code, _ := ask("ci")
		require.Equal(t, http.StatusOK, code)
	}
	code, after := ask("ci")
	require.Equal(t, http.StatusTooManyRequests, code)
	seconds, err := strconv.Atoi(after)
	require.NoError(t, err)
	assert.Positive(t, seconds)
	code, _ = ask("developer")
	require.Equal(t, http.StatusOK, code, "each subject by itself")
	for range 20 {
		code, _ = ask("release-lead")
	}
	require.Equal(t, http.StatusTooManyRequests, code)
	code, after = ask("on-call")
	require.Equal(t, http.StatusTooManyRequests, code, "and the address over all of them")
	assert.NotEmpty(t, after)
	assert.Equal(t, http.StatusNoContent, d.call("", "GET", "/healthz", "", nil), "the platform is always answered")
}

// TestKeysRotateUnderRunningReleases goes through a rotation: the releases of
// before, between and after it are all approved, and the old key alone is not
// believed once it has run out.
func TestKeysRotateUnderRunningReleases(t *testing.T) {
	older, newer := apitest.NewKey(t, "gateway-1"), apitest.NewKey(t, "gateway-2")
	public := func(notAfter time.Time, key auth.SigningKey) signals.PublicKey {
		signer, err := auth.NewSigners([]auth.SigningKey{key})
		require.NoError(t, err)
		k, err := signer.PublicKey()
		require.NoError(t, err)
		k.NotAfter = notAfter
		return k
	}
	approve := func(d *office, id string) (int, wire.Problem) {
		var problem wire.Problem
		raw := json.RawMessage{}
		code := d.call("release-lead", "POST", "/v1/releases/"+id+"/approvals", decision("approve"), &raw)
		require.NoError(t, json.Unmarshal(raw, &problem))
		return code, problem
	}
	// A release has pinned its keys once it can say where it stands.
	begin := func(d *office) string {
		id := d.start("wait")
		require.Equal(t, http.StatusOK, d.call("ci", "GET", "/v1/releases/"+id, "", nil))
		return id
	}
	before := openWith(t, apitest.Options{Keys: []auth.SigningKey{older}})
	first, second := begin(before), begin(before)

	both := []signals.PublicKey{public(time.Time{}, older), public(time.Time{}, newer)}
	during := openWith(t, apitest.Options{Keys: []auth.SigningKey{older, newer}, Pinned: both})
	code, _ := approve(during, first)
	assert.Equal(t, http.StatusOK, code, "pinned the old key, signed with both")
	third := begin(during)
	code, _ = approve(during, third)
	assert.Equal(t, http.StatusOK, code, "pinned both, signed with both")
	fourth := begin(during)

	after := openWith(t, apitest.Options{Keys: []auth.SigningKey{newer}, Pinned: both[1:]})
	code, _ = approve(after, fourth)
	assert.Equal(t, http.StatusOK, code, "pinned both, signed with the new key")
	code, problem := approve(after, second)
	assert.Equal(t, http.StatusForbidden, code, "pinned the old key alone, which the gateway gave up too early")
	assert.Contains(t, problem.Detail, "gateway-2")

	expired := openWith(t, apitest.Options{Keys: []auth.SigningKey{older}, Pinned: []signals.PublicKey{public(time.Now().Add(-time.Minute), older), both[1]}})
	code, problem = approve(expired, begin(expired))
	assert.Equal(t, http.StatusForbidden, code)
	assert.Contains(t, problem.Detail, `key "gateway-1" is valid from`)
}
