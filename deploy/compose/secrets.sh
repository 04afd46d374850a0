#!/usr/bin/env bash
# Makes the passwords and keys of docker-compose.yaml in .waybill/compose (or
# $WAYBILL_SECRETS), each once: what is there already is kept. The folder is for
# you alone; the files in it can be read by any user id, because the containers
# that they are mounted into run under ids of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dir=${WAYBILL_SECRETS:-.waybill/compose}

if ! command -v openssl >/dev/null; then
  echo "secrets.sh: openssl is needed to make keys; install it and run this again" >&2
  exit 1
fi
umask 022
mkdir -p "$dir"
chmod 0700 "$dir"

# keep NAME writes standard input to the file NAME, unless it is there.
keep() {
  if [[ -s $dir/$1 ]]; then
    cat >/dev/null
  else
    cat >"$dir/$1.new"
    mv "$dir/$1.new" "$dir/$1"
    echo "secrets.sh: made $dir/$1"
  fi
}

random() { openssl rand -hex 24; }

# account NAME makes an S3 account, as the credentials file of any AWS client.
account() {
  printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$1" "$(random)" | keep "s3-$1"
}

# key NAME makes an ECDSA key in the forms that the daemon reads.
key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 2>/dev/null | keep "$1.key"
  openssl pkey -in "$dir/$1.key" -pubout | keep "$1.pub"
}

# standin NAME WHAT makes a secret that is of no use but lets all parts come up,
# until the one that somebody else gives out is put in its place.
standin() {
  if [[ ! -s $dir/$1 ]]; then
    random | keep "$1"
    echo "secrets.sh: that is a stand-in; put $2 in its place"
  fi
}

random | tr -d '\n' | keep postgres-password
account root
account notary
account auditor
key evidence
key gateway
standin login-client-secret "the secret of the gateway's client at your identity provider"
standin directory-token "the bearer token of your SCIM directory"
standin slack-bot-token "the Slack app's bot token (xoxb-...)"
standin slack-app-token "the Slack app's app-level token (xapp-...)"

if [[ -z ${WAYBILL_CATALOG:-} ]]; then
  mkdir -p "$dir/catalog"
  if [[ -z $(ls -A "$dir/catalog") ]]; then
    echo "secrets.sh: put the service files of your catalog into $dir/catalog, or name their folder in WAYBILL_CATALOG"
  fi
fi
if [[ -z ${WAYBILL_KUBECONFIG:-} && ! -s $dir/kubeconfig ]]; then
  echo "secrets.sh: put the kubeconfig of the cluster that you deliver to at $dir/kubeconfig, or name it in WAYBILL_KUBECONFIG"
fi
