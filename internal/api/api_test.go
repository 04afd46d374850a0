package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/waybill-dev/waybill/internal/api/apitest"
	"github.com/waybill-dev/waybill/internal/api/wire"
	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/auth/authtest"
	"github.com/waybill-dev/waybill/signals"
)

func TestMain(m *testing.M) {
	code := m.Run()
	apitest.StopTemporal()
	os.Exit(code)
}

// office is a gateway with an issuer, and what tests do at it.
type office struct {
	*apitest.Gateway
	t      *testing.T
	issuer *authtest.Issuer
	log    *logBuffer
}

// logBuffer can be read while the gateway writes to it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func open(t *testing.T) *office {
	t.Helper()
	return openWith(t, apitest.Options{})
}

func openWith(t *testing.T, o apitest.Options) *office {
	t.Helper()
	d := &office{t: t, issuer: authtest.Start(t), log: &logBuffer{}}
	o.Issuer, o.Log = d.issuer.URL, slog.New(slog.NewJSONHandler(d.log, nil))
	d.Gateway = apitest.Start(t, o)
	return d
}

func (d *office) token(who string) string {
	groups := map[string][]string{
		"ci": {"ci"}, "release-lead": {apitest.Approvers}, "on-call": {apitest.Operators}, "developer": {"payments-dev"},
	}
	return d.issuer.Token(d.t, who, groups[who], nil)
}

// call sends body as who ("" for nobody) and decodes the answer into out.
func (d *office) call(who, method, path, body string, out any) int {
	d.t.Helper()
	return d.callWith(nil, who, method, path, body, out)
}

// callWith does so with more headers.
func (d *office) callWith(headers map[string]string, who, method, path, body string, out any) int {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.URL+path, strings.NewReader(body))
	require.NoError(d.t, err)
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+d.token(who))
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	require.NoError(d.t, err)
	if out != nil {
		require.NoError(d.t, json.Unmarshal(raw, out), "%s %s: %d %s", method, path, res.StatusCode, raw)
	}
	return res.StatusCode
}

const commit = "4f1c0d2e3b4a59687766554433221100ffeeddcc"

func request(reason string) string {
	return fmt.Sprintf(`{"service":"payments-api","environment":"prod","image":"registry.example/payments-api:v2","commit":%q,"ticket":"CHG-1042","reason":%q}`, commit, reason)
}

func (d *office) start(reason string) string {
	d.t.Helper()
	var started wire.Started
	require.Equal(d.t, http.StatusAccepted, d.call("ci", "POST", "/v1/releases", request(reason), &started))
	return started.Release
}

func (d *office) outcome(release string) wire.Ended {
	d.t.Helper()
	var ended wire.Ended
	require.Equal(d.t, http.StatusOK, d.call("ci", "GET", "/v1/releases/"+release+"/outcome?wait=30s", "", &ended))
	require.True(d.t, ended.Done)
	return ended
}

func TestAReleaseIsStartedApprovedAndPromoted(t *testing.T) {
	d := open(t)
	id := d.start("new limits")
	assert.Regexp(t, `^payments-api-prod-\d{8}-\d{6}-[0-9a-f]{4}$`, id)

	var status wire.Release
	require.Equal(t, http.StatusOK, d.call("developer", "GET", "/v1/releases/"+id, "", &status))
	assert.Equal(t, "ci", status.Requester, "the release believes the gateway's signature on who asked")
	assert.Equal(t, wire.Running, status.Execution.State)

	var early wire.Ended
	require.Equal(t, http.StatusOK, d.call("ci", "GET", "/v1/releases/"+id+"/outcome", "", &early))
	assert.False(t, early.Done)

	var receipt signals.Receipt
	body := fmt.Sprintf(`{"decision":"approve","reason":"read it","planDigest":%q}`, status.PlanDigest)
	require.Equal(t, http.StatusOK, d.call("release-lead", "POST", "/v1/releases/"+id+"/approvals", body, &receipt))
	assert.True(t, receipt.Accepted)

	ended := d.outcome(id)
	require.NotNil(t, ended.Outcome)
	assert.Equal(t, signals.Promoted, ended.Outcome.Kind)
	assert.Equal(t, d.issuer.URL+"#release-lead", ended.Outcome.By)
	assert.Equal(t, 0, ended.ExitCode())

	require.Equal(t, http.StatusOK, d.call("ci", "GET", "/v1/releases/"+id, "", &status))
	assert.Equal(t, wire.Completed, status.Execution.State)

	var problem wire.Problem
	require.Equal(t, http.StatusConflict, d.call("release-lead", "POST", "/v1/releases/"+id+"/approvals", body, &problem))
	assert.Contains(t, problem.Detail, "has ended (promoted)")
}

func TestTheStartTellsTemporalWhatItIs(t *testing.T) {
	d := open(t)
	id := d.start("new limits")
	info, err := d.Temporal.DescribeWorkflow(t.Context(), id, "")
	require.NoError(t, err)
	service, _ := info.TypedSearchAttributes.GetKeyword(signals.AttrService)
	assert.Equal(t, "payments-api", service)
	summary, err := info.GetStaticSummary()
	require.NoError(t, err)
	assert.Equal(t, "payments-api → prod · payments-api:v2 · CHG-1042", summary)
	details, err := info.GetStaticDetails()
	require.NoError(t, err)
	assert.Contains(t, details, commit)
	assert.Contains(t, details, "`ci`")
}

func TestTheSameIDStartsOnce(t *testing.T) {
	d := open(t)
	id := "payments-api-" + auth.Nonce()
	require.Equal(t, http.StatusAccepted, d.call("ci", "POST", "/v1/releases?id="+id, request(apitest.ReasonPromote), nil))
	for _, when := range []string{"while it runs", "after it ended"} {
		var problem wire.Problem
		require.Equal(t, http.StatusConflict, d.call("ci", "POST", "/v1/releases?id="+id, request("again"), &problem), when)
		assert.Contains(t, problem.Detail, id)
		d.outcome(id)
	}
	assert.Equal(t, http.StatusUnprocessableEntity, d.call("ci", "POST", "/v1/releases?id=lane%2Fprod", request(""), nil))
}

func TestBadRequestsAreListedFaultByFault(t *testing.T) {
	d := open(t)
	for name, tc := range map[string]struct {
		body   string
		status int
		says   []string
	}{
		"empty":            {``, 400, []string{"body is required"}},
		"malformed":        {`{"service":`, 422, []string{"not valid JSON"}},
		"unknown field":    {`{"servce":"payments-api"}`, 422, []string{`unknown field "servce"`}},
		"wrong type":       {`{"service":7}`, 422, []string{`field "service": got a number`}},
		"two objects":      {request("") + request(""), 422, []string{"data after its JSON object"}},
		"several faults":   {`{"service":"Payments API","environment":"prod","image":"","commit":"abc"}`, 422, []string{"service", "image", "commit"}},
		"forged signature": {strings.Replace(request(""), "{", `{"envelope":{"payloadType":"x","payload":"","signatures":[]},`, 1), 422, []string{"leave the field out"}},
		"too large":        {`{"reason":"` + strings.Repeat("x", signals.MaxRequestBytes) + `"}`, 413, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var problem wire.Problem
			assert.Equal(t, tc.status, d.call("ci", "POST", "/v1/releases", tc.body, &problem))
			text := fmt.Sprint(problem.Detail, problem.Errors)
			for _, want := range tc.says {
				assert.Contains(t, text, want)
			}
		})
	}
}

func TestDecisionsAreRefusedWithTheRightStatus(t *testing.T) {
	d := open(t)
	id := d.start("wait")
	good := apitest.PlanDigest
	other := signals.Digest([]byte("another plan"))
	for name, tc := range map[string]struct {
		who, body string
		status    int
		says      string
	}{
		"another plan":    {"release-lead", `{"decision":"approve","reason":"ok","planDigest":"` + other + `"}`, 409, "not the " + other},
		"no digest":       {"release-lead", `{"decision":"approve","reason":"ok"}`, 422, "validation"},
		"no reason":       {"release-lead", `{"decision":"approve","reason":"","planDigest":"` + good + `"}`, 422, "validation"},
		"no such command": {"on-call", `{"decision":"approve","reason":"ok","planDigest":"` + good + `","command":"` + strings.Repeat("x", 200) + `"}`, 422, "validation"},
		"no decision":     {"release-lead", `{"decision":"maybe","reason":"ok","planDigest":"` + good + `"}`, 422, "validation"},
		"unknown field":   {"release-lead", `{"decision":"approve","reason":"ok","planDigest":"` + good + `","as":"risk"}`, 422, "validation"},
		"not in group":    {"developer", `{"decision":"approve","reason":"ok","planDigest":"` + good + `"}`, 403, "not in payments-leads"},
		"nobody":          {"", `{"decision":"approve","reason":"ok","planDigest":"` + good + `"}`, 401, "waybill login"},
	} {
		t.Run(name, func(t *testing.T) {
			var problem wire.Problem
			require.Equal(t, tc.status, d.call(tc.who, "POST", "/v1/releases/"+id+"/approvals", tc.body, &problem))
			assert.Contains(t, problem.Detail, tc.says)
		})
	}
	assert.Equal(t, 404, d.call("release-lead", "POST", "/v1/releases/nothing/approvals", `{"decision":"deny","reason":"no","planDigest":"`+good+`"}`, nil))
}

func TestAbortIsForTheRequesterAndOperators(t *testing.T) {
	d := open(t)
	abort := `{"command":"abort","reason":"wrong image"}`
	for _, who := range []string{"ci", "on-call"} {
		id := d.start("wait")
		var problem wire.Problem
		require.Equal(t, http.StatusForbidden, d.call("developer", "POST", "/v1/releases/"+id+"/commands", abort, &problem))
		assert.Contains(t, problem.Detail, "developer may not abort")
		require.Equal(t, http.StatusOK, d.call(who, "POST", "/v1/releases/"+id+"/commands", abort, nil))
		ended := d.outcome(id)
		assert.Equal(t, signals.Aborted, ended.Outcome.Kind)
		assert.Equal(t, d.issuer.URL+"#"+who, ended.Outcome.By)
	}
}

func TestAReleaseStartedPastTheGatewayHasNoProvenRequester(t *testing.T) {
	d := open(t)
	run, err := d.Temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "by-hand-" + auth.Nonce(), TaskQueue: signals.ReleaseQueue},
		signals.ReleaseWorkflow, json.RawMessage(request("wait")))
	require.NoError(t, err)
	var status wire.Release
	require.Equal(t, http.StatusOK, d.call("ci", "GET", "/v1/releases/"+run.GetID(), "", &status))
	assert.Equal(t, "not proven", status.Requester)
	abort := `{"command":"abort","reason":"not ours"}`
	assert.Equal(t, http.StatusForbidden, d.call("ci", "POST", "/v1/releases/"+run.GetID()+"/commands", abort, nil))
	assert.Equal(t, http.StatusOK, d.call("on-call", "POST", "/v1/releases/"+run.GetID()+"/commands", abort, nil))
}

func TestAFailedWorkflowIsToldAsSuch(t *testing.T) {
	d := open(t)
	id := d.start(apitest.ReasonFail)
	ended := d.outcome(id)
	assert.Equal(t, wire.Failed, ended.State)
	assert.Equal(t, "stable could not be restored", ended.Failure)
	assert.Equal(t, signals.ExitFailed, ended.ExitCode())

	terminated := d.start("wait")
	require.NoError(t, d.Temporal.TerminateWorkflow(t.Context(), terminated, "", "by a test"))
	assert.Equal(t, wire.Terminated, d.outcome(terminated).State)
}

func TestStatusCarriesTheWatchAsItIs(t *testing.T) {
	d := open(t)
	id := d.start(apitest.ReasonWatch)
	var status wire.Release
	require.Eventually(t, func() bool {
		return d.call("ci", "GET", "/v1/releases/"+id, "", &status) == http.StatusOK && status.Live != nil && status.Live.Taken > 1
	}, 20*time.Second, 100*time.Millisecond)
	require.Len(t, status.Live.Checks, 1)
	assert.Equal(t, "errors", status.Live.Checks[0].Check)
	assert.Empty(t, status.Live.Readings, "raw readings stay where they are needed")
}

func TestWithoutAWorkerTheGatewaySaysWhatItKnows(t *testing.T) {
	d := open(t)
	running, ended := d.start("wait"), d.start(apitest.ReasonPromote)
	d.outcome(ended)
	d.StopWorker()

	var problem wire.Problem
	require.Equal(t, http.StatusServiceUnavailable, d.call("ci", "GET", "/v1/releases/"+running, "", &problem))
	assert.Contains(t, problem.Detail, running)
	assert.Contains(t, problem.Detail, "worker")

	var status wire.Release
	require.Equal(t, http.StatusOK, d.call("ci", "GET", "/v1/releases/"+ended, "", &status), "an outcome needs no worker")
	require.NotNil(t, status.Outcome)
	assert.Equal(t, signals.Promoted, status.Outcome.Kind)
}

func TestListFiltersAndPages(t *testing.T) {
	d := open(t)
	first := d.start(apitest.ReasonPromote)
	d.outcome(first)
	second := d.start(apitest.ReasonPromote)
	d.outcome(second)
	var page wire.List
	path := "/v1/releases?service=payments-api&environment=prod&outcome=promoted&limit=1"
	require.Eventually(t, func() bool {
		page = wire.List{}
		return d.call("ci", "GET", path, "", &page) == http.StatusOK && len(page.Releases) == 1 && page.Releases[0].Release == second
	}, 20*time.Second, 100*time.Millisecond, "newest first, once visibility has caught up")
	assert.Equal(t, int64(2), page.Releases[0].Tier)
	assert.Equal(t, signals.Promoted, page.Releases[0].Outcome)
	assert.Equal(t, wire.Completed, page.Releases[0].State)
	require.NotEmpty(t, page.Next)
	next := wire.List{}
	require.Equal(t, http.StatusOK, d.call("ci", "GET", path+"&after="+page.Next, "", &next))
	require.Len(t, next.Releases, 1)
	assert.Equal(t, first, next.Releases[0].Release)

	var none wire.List
	require.Equal(t, http.StatusOK, d.call("ci", "GET", "/v1/releases?service=another", "", &none))
	assert.Empty(t, none.Releases)
	for _, bad := range []string{"service=x'%20OR%20'1'='1", "outcome=great", "limit=0", "limit=1000", "after=%21", "colour=red"} {
		assert.Equal(t, http.StatusUnprocessableEntity, d.call("ci", "GET", "/v1/releases?"+bad, "", nil), bad)
	}
}

func TestLanesAndThingsThatAreNoReleases(t *testing.T) {
	d := open(t)
	service := "svc-" + auth.Nonce()[:8]
	_, err := d.Temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: signals.LaneID("prod", service), TaskQueue: signals.ReleaseQueue},
		signals.LaneWorkflow, signals.LaneInput{Environment: "prod", Service: service, LKGRelease: "r-1"})
	require.NoError(t, err)
	var lane signals.LaneStatus
	require.Equal(t, http.StatusOK, d.call("ci", "GET", "/v1/lanes/prod/"+service, "", &lane))
	assert.Equal(t, "r-1", lane.LKGRelease)
	assert.Equal(t, http.StatusNotFound, d.call("ci", "GET", "/v1/lanes/staging/"+service, "", nil))
	assert.Equal(t, http.StatusUnprocessableEntity, d.call("ci", "GET", "/v1/lanes/Prod/"+service, "", nil))
	assert.Equal(t, http.StatusNotFound, d.call("ci", "GET", "/v1/releases/lane%2Fprod%2F"+service, "", nil), "a lane is no release")
	assert.Equal(t, http.StatusNotFound, d.call("ci", "GET", "/v1/releases/nothing/outcome", "", nil))
	id := d.start("wait")
	assert.Equal(t, http.StatusUnprocessableEntity, d.call("ci", "GET", "/v1/releases/"+id+"/outcome?wait=1h", "", nil))
	assert.Equal(t, http.StatusUnprocessableEntity, d.call("ci", "GET", "/v1/releases/"+id+"/outcome?wait=soon", "", nil))
}
