package stack

import (
	"fmt"
	"maps"
	"os"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/waybill-dev/waybill/cmd/devstack/internal/objectstore"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/seed"
	"github.com/waybill-dev/waybill/cmd/devstack/internal/temporal"
	"github.com/waybill-dev/waybill/internal/oidcissuer"
	"github.com/waybill-dev/waybill/internal/slackemu"
)

// ClusterName is what catalog and deploy queue call the stack's cluster.
const ClusterName = "local"

// retention is how long the demo's records are kept locked.
const retention = "24h"

// directoryCache is how long the daemons believe the directory's last answer:
// short, so that who leaves a group is out of it while one looks on.
const directoryCache = "5s"

type object = map[string]any

// writeConfigs writes the daemons' configurations: one file each, since each
// process has its own address for health and metrics.
func (u *up) writeConfigs(kubeconfig string) error {
	keys := func(ids ...string) []object {
		var all []object
		for _, id := range ids {
			all = append(all, object{"id": id, "publicKey": u.at("keys", id+".pub")})
		}
		return all
	}
	issuer := "http://" + u.local(portIssuer)
	publicURL := "http://" + u.local(portGateway)
	common := object{
		"temporal": object{"address": u.temporal.Address(), "namespace": temporal.Namespace},
		"trust":    object{"gateway": keys(seed.GatewayKey, seed.GatewayNextKey), "evidence": keys(seed.EvidenceKey)},
		"directory": object{
			"url": issuer + oidcissuer.SCIMPath, "token": u.secret(directoryKey), "issuer": issuer, "cache": directoryCache,
		},
	}
	worker := object{
		"listen":   u.local(portWorker),
		"catalog":  u.at("catalog"),
		"policies": u.root + "/policies",
		"registry": object{"plainHTTP": []string{u.local(portRegistry)}},
		"clusters": []object{{"name": ClusterName, "kubeconfig": kubeconfig, "prometheus": "http://" + u.local(portPrometheus)}},
		"notary": object{
			"keyID": seed.EvidenceKey, "key": u.at("keys", seed.EvidenceKey+".pem"),
			"bucket": objectstore.Bucket, "endpoint": u.store.URL(), "region": objectstore.Region, "pathStyle": true,
			"lockMode": "COMPLIANCE", "retention": object{"default": retention},
		},
		"slack": object{"botToken": u.secret(slackBot), "apiURL": u.slackAPI(), "gateway": publicURL},
	}
	gateway := object{
		"listen": u.local(portGatewayStats),
		"gateway": object{
			"listen": u.local(portGateway), "publicURL": publicURL,
			"keys": []object{
				{"id": seed.GatewayKey, "key": u.at("keys", seed.GatewayKey+".pem")},
				{"id": seed.GatewayNextKey, "key": u.at("keys", seed.GatewayNextKey+".pem")},
			},
			"login": object{
				"issuer": issuer, "clientID": oidcissuer.WebClientID, "clientSecret": u.secret(loginKey),
				"scopes": []string{"openid", "profile", "email", "groups"}, "acr": []string{oidcissuer.ACRMFA},
			},
			"slack": object{
				"mode": "http", "botToken": u.secret(slackBot), "signingSecret": u.secret(slackSigning), "appToken": u.secret(slackApp),
				"teams": []string{slackemu.TeamID}, "app": slackemu.AppID, "apiURL": u.slackAPI(),
			},
			"issuers": []object{{
				"url": issuer, "audience": oidcissuer.Audience, "groupsClaim": "groups",
				"clientID": oidcissuer.ClientID, "scopes": []string{"openid", "profile", "email", "groups"},
			}},
			"operators": []string{"payments-leads", "payments-oncall"},
		},
	}
	for file, own := range map[string]object{u.WorkerConfig(): worker, u.GatewayConfig(): gateway} {
		maps.Copy(own, common)
		text, err := yaml.Marshal(own)
		if err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	env := strings.Join(u.settings.Accounts.Notary.Env(u.store.URL()), "\n") + "\n"
	if err := os.WriteFile(u.NotaryEnv(), []byte(env), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", u.NotaryEnv(), err)
	}
	return nil
}
