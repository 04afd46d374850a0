#!/bin/sh
# Creates the accounts of the notary and the auditor at the S3 gateway. Safe to
# run again.
set -eu

: "${ADMIN_ENDPOINT_URL:?address of the S3 gateway}"
# value FILE NAME prints a value of an AWS credentials file.
value() { sed -n "s/^$2 *= *//p" "$1"; }

secrets=${SECRETS_DIR:-/run/secrets}
ADMIN_ACCESS_KEY_ID=$(value "$secrets/s3-root" aws_access_key_id)
ADMIN_SECRET_ACCESS_KEY=$(value "$secrets/s3-root" aws_secret_access_key)
export ADMIN_ENDPOINT_URL ADMIN_ACCESS_KEY_ID ADMIN_SECRET_ACCESS_KEY

for account in notary auditor; do
  file=$secrets/s3-$account
  access=$(value "$file" aws_access_key_id)
  if ! versitygw admin list-users | grep -q "^$access "; then
    versitygw admin create-user --access "$access" --secret "$(value "$file" aws_secret_access_key)" --role user
  fi
done
