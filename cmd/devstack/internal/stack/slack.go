package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/proc"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
)

// Secrets that parts share, each in a file of its own in the folder of the keys.
const (
	slackBot     = "slack-bot-token"
	slackApp     = "slack-app-token"
	slackSigning = "slack-signing-secret"
	directoryKey = "directory-token"
	loginKey     = "gateway-client-secret"
)

// slackAPI is where the daemons reach the emulator's Web API.
func (u *up) slackAPI() string { return "http://" + u.local(portSlack) + "/api/" }

// shareSecrets writes the secrets that the daemons are told of: what Slack and
// the app know of each other, made once, and what the issuer goes by.
func (u *up) shareSecrets() error {
	issuer, err := oidcissuer.LoadSecrets(u.Issuer())
	if err != nil {
		return err
	}
	for name, fresh := range map[string]func() string{
		slackBot: func() string { return "xoxb-" + rand.Text() }, slackApp: func() string { return "xapp-" + rand.Text() },
		slackSigning: rand.Text,
	} {
		if _, err := os.Stat(u.secret(name)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := u.writeSecret(name, fresh()); err != nil {
			return err
		}
	}
	return errors.Join(u.writeSecret(directoryKey, issuer.Directory), u.writeSecret(loginKey, issuer.Web))
}

func (u *up) writeSecret(name, value string) error {
	path := u.secret(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	if err := os.WriteFile(path+".new", []byte(value+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return os.Rename(path+".new", path)
}

// startSlack brings the emulator up. Left out, Slack is what it is in an outage:
// configured, and out of reach.
func (u *up) startSlack(ctx context.Context) error {
	if !u.wants(Slack) {
		return nil
	}
	at := u.local(portSlack)
	return u.run(ctx, "http://"+at, proc.Part{
		Name: Slack, Path: u.self,
		Args: []string{
			"serve", "slack", "--listen=" + at, "--file=" + u.at("data", "slack.json"), "--gateway=http://" + u.local(portGateway),
			"--bot-token=" + u.secret(slackBot), "--app-token=" + u.secret(slackApp), "--signing-secret=" + u.secret(slackSigning),
		},
		Ready: proc.HTTPReady("http://" + at + "/emulator/healthz"),
	})
}
