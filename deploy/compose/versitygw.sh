#!/bin/sh
# Starts the S3 gateway over a folder, with versions kept (Object Lock needs
# them) and accounts apart from the root account.
set -eu

data=${DATA_DIR:-/data}
root=${SECRETS_DIR:-/run/secrets}/s3-root
mkdir -p "$data/buckets" "$data/versions" "$data/accounts"
ROOT_ACCESS_KEY_ID=$(sed -n 's/^aws_access_key_id *= *//p' "$root")
ROOT_SECRET_ACCESS_KEY=$(sed -n 's/^aws_secret_access_key *= *//p' "$root")
export ROOT_ACCESS_KEY_ID ROOT_SECRET_ACCESS_KEY
exec versitygw --port "${LISTEN:-:7070}" --health /healthz --iam-dir "$data/accounts" \
  posix --versioning-dir "$data/versions" "$data/buckets"
