#!/bin/sh
# Starts the S3 gateway over a folder, with versions kept (Object Lock needs
# them) and accounts apart from the root account.
set -eu

data=${DATA_DIR:-/data}
mkdir -p "$data/buckets" "$data/versions" "$data/accounts"
set -a
# shellcheck source=/dev/null # ROOT_ACCESS_KEY_ID and ROOT_SECRET_ACCESS_KEY
. "${S3_ROOT_FILE:-/run/secrets/s3-root}"
set +a
exec versitygw --port "${LISTEN:-:7070}" --health /healthz --iam-dir "$data/accounts" \
  posix --versioning-dir "$data/versions" "$data/buckets"
