#!/bin/sh
# Creates the notary's account and its bucket with Object Lock. Safe to run again.
set -eu

: "${ADMIN_ENDPOINT_URL:?address of the S3 gateway}" "${BUCKET:?name of the evidence bucket}"
# shellcheck source=/dev/null
. "${S3_ROOT_FILE:-/run/secrets/s3-root}"
export ADMIN_ENDPOINT_URL ADMIN_ACCESS_KEY_ID="$ROOT_ACCESS_KEY_ID" ADMIN_SECRET_ACCESS_KEY="$ROOT_SECRET_ACCESS_KEY"

credentials=${S3_CREDENTIALS_FILE:-/run/secrets/s3-credentials}
value() { sed -n "s/^$1 *= *//p" "$credentials"; }
access=$(value aws_access_key_id)

if ! versitygw admin list-users | grep -q "^$access "; then
  versitygw admin create-user --access "$access" --secret "$(value aws_secret_access_key)" --role user
fi
if ! versitygw admin list-buckets | grep -q "^$BUCKET "; then
  versitygw admin create-bucket --owner "$access" --bucket "$BUCKET" --object-lock-enabled-for-bucket
fi
