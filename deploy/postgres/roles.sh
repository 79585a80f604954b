#!/usr/bin/env bash
# Makes the two roles of PostgreSQL that the service needs, in a database that exists: the owner, by whom the schema is
# changed (store.migrate_url), and the role of the running service (store.url), which can neither change nor remove rows
# of the ledger, the evidence and the audit. Names, passwords and the database are those of the two addresses. Tables
# that another role owns, such as the one of older installations, become the owner's; processes that use that role go
# on if it is the service's role. All of it happens in one transaction, and may run again.
#
#   deploy/postgres/roles.sh STORE_URL_FILE MIGRATE_URL_FILE
#
# psql connects as a superuser by its own variables: PGHOST, PGPORT, PGUSER, PGPASSWORD.
set -euo pipefail

die() { printf 'error: %s\n' "$*" >&2; exit 2; }

[[ $# -eq 2 ]] || die "usage: roles.sh STORE_URL_FILE MIGRATE_URL_FILE"
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

# USER, PASSWORD and DATABASE of an address in a file. What would have to be decoded or quoted is refused. No message
# quotes the address.
part() {
    local url address
    url=$(<"$1")
    address='^postgres(ql)?://([^:@/?#]+):([^:@/?#]+)@[^@/]+/([^?/]+)([?].*)?$'
    [[ $url =~ $address && $url != *[%\'\"\\]* ]] ||
        die "$1 must hold postgres://USER:PASSWORD@HOST/DATABASE, without quotes and percent-encoded characters"
    printf -v "$2" %s "${BASH_REMATCH[2]}"
    printf -v "$3" %s "${BASH_REMATCH[3]}"
    printf -v "$4" %s "${BASH_REMATCH[4]}"
}
service='' service_password='' database='' owner='' owner_password='' same=''
part "$1" service service_password database
part "$2" owner owner_password same
[[ $database == "$same" ]] || die "the two addresses name different databases"
[[ $service != "$owner" ]] || die "the two addresses name the same role"

# Passwords go through standard input, where no list of processes shows them.
{
    printf "\\\\set %s '%s'\n" service "$service" owner "$owner" \
        service_password "$service_password" owner_password "$owner_password"
    cat -- "$here/roles.sql" "$here/grants.sql"
    printf 'COMMIT;\n'
} | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname "$database"
printf 'the role %s owns the tables of %s, and the role %s may use them\n' "$owner" "$database" "$service"
