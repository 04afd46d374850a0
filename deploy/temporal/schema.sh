#!/bin/sh
# Creates Temporal's two databases in PostgreSQL and brings their schemas to the
# version of this image. Safe to run again: that is how an upgrade is done.
set -eu

: "${SQL_HOST:?the host of PostgreSQL}" "${SQL_USER:?the database user}"
SQL_PASSWORD=$(cat "${SQL_PASSWORD_FILE:?the file with the password}")
export SQL_PASSWORD SQL_PLUGIN=postgres12

for pair in temporal:temporal temporal_visibility:visibility; do
  database=${pair%%:*}
  schema=/etc/temporal/schema/postgresql/v12/${pair##*:}/versioned
  temporal-sql-tool --database "$database" create-database
  temporal-sql-tool --database "$database" setup-schema -v 0.0
  temporal-sql-tool --database "$database" update-schema -d "$schema"
done
