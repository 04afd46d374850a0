package auth_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/auth"
	"github.com/waybill-dev/waybill/internal/directory"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
)

// What the directory says now counts, and not what a token said when it was
// issued.
func TestIdentitiesAreEnrichedFromTheDirectory(t *testing.T) {
	issuer, err := oidcissuer.Start("")
	require.NoError(t, err)
	t.Cleanup(func() { _ = issuer.Close() })
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(issuer.Secrets().Directory), 0o600))
	people, err := directory.New(directory.Config{
		URL: issuer.URL + oidcissuer.SCIMPath, Token: token, Issuer: issuer.URL, Fresh: time.Nanosecond, Unknown: time.Nanosecond,
	})
	require.NoError(t, err)
	enrich := auth.Enrich(people)
	v, err := auth.NewVerifier([]auth.Issuer{{URL: issuer.URL, Audience: oidcissuer.Audience}}, time.Now)
	require.NoError(t, err)
	who := func(account string) auth.Identity {
		raw, err := issuer.Token(t.Context(), account)
		require.NoError(t, err)
		id, err := v.Verify(t.Context(), raw)
		require.NoError(t, err)
		return id
	}

	developer := who("developer")
	known, err := enrich(t.Context(), developer)
	require.NoError(t, err)
	require.Equal(t, []string{"developer", "developer@payments.example", "developer-second@payments.example"}, known.Subject.Aliases)
	require.Equal(t, developer.Subject.Key(), known.Subject.Key())
	require.Equal(t, developer.Authn, known.Authn)

	officer, inactive := who("risk-officer"), false
	require.Equal(t, []string{"risk"}, officer.Subject.Groups)
	require.NoError(t, issuer.Amend(t.Context(), "risk-officer", oidcissuer.Standing{Groups: []string{"audit"}}))
	known, err = enrich(t.Context(), officer)
	require.NoError(t, err)
	require.Equal(t, []string{"audit"}, known.Subject.Groups, "left the group since the login")
	require.NoError(t, issuer.Amend(t.Context(), "risk-officer", oidcissuer.Standing{Active: &inactive}))
	_, err = enrich(t.Context(), officer)
	require.ErrorIs(t, err, auth.ErrInactive)

	machine := who("ci")
	known, err = enrich(t.Context(), machine)
	require.ErrorIs(t, err, auth.ErrStranger)
	require.Equal(t, machine, known)

	require.NoError(t, issuer.Close())
	_, err = enrich(t.Context(), developer)
	require.ErrorIs(t, err, auth.ErrDirectory, "nobody can tell: nothing is decided")
	require.NotErrorIs(t, err, auth.ErrStranger)
}
