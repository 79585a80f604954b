#!/usr/bin/env bash
# Run by the image of PostgreSQL when it makes a new database, while only a socket of its own is open.
set -euo pipefail
export PGUSER=$POSTGRES_USER
/etc/wxpay-postgres/roles.sh /run/secrets/store_url /run/secrets/migrate_url
