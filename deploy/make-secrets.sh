#!/usr/bin/env bash
# Makes the secrets of docker-compose.yml that this installation chooses itself, in deploy/secrets (or the directory
# given): passwords of PostgreSQL and NATS with the addresses that contain them, the key of the session cookie. Existing
# files are kept, so it may run again. Secrets that only WeChat issues (merchant key, app secret) are listed at the end
# until they are there.
#
#   deploy/make-secrets.sh [DIRECTORY]
#   deploy/make-secrets.sh --subscriber NAME [DIRECTORY]
#
# NATS has the user `wxpay` of the service, `admin`, and one user for each subscriber, named like its durable consumer of
# PAY_EVENTS; the first one is `finance`. `--subscriber NAME` adds one (docs/consumers.md).
set -euo pipefail

subscriber=
if [[ ${1:-} == --subscriber ]]; then
    subscriber=${2:-}
    shift 2 || shift
    # The name stands in subjects and in NATS's configuration; the others are users of their own.
    if [[ ! $subscriber =~ ^[a-z][a-z0-9-]{0,31}$ || $subscriber == wxpay || $subscriber == admin ]]; then
        printf 'error: a subscriber has a name of at most 32 letters a-z, digits and -, not wxpay or admin\n' >&2
        exit 2
    fi
fi
dir=${1:-$(dirname -- "${BASH_SOURCE[0]}")/secrets}
mkdir -p "$dir"
# The directory excludes other users of the machine; the files are readable, because each container has its own user.
chmod 700 "$dir"
cd -- "$dir"

# 256 random bits in hexadecimal: safe inside an address and inside a configuration file.
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# Writes stdin to the file $1, whole or not at all.
put() {
    cat >".$1.new"
    chmod 444 ".$1.new"
    mv -- ".$1.new" "$1"
}

have() { [[ -s $1 ]]; }

have postgres_password || random | put postgres_password
have postgres_service_password || random | put postgres_service_password
have postgres_owner_password || random | put postgres_owner_password
have nats_password || random | put nats_password
have nats_admin_password || random | put nats_admin_password
for name in finance ${subscriber:+"$subscriber"}; do
    have "nats_subscriber_$name" || random | put "nats_subscriber_$name"
done
have nats_route_password || random | put nats_route_password
have session_key || random | put session_key

# These follow from the passwords, and are written each time so that they can't differ.
# The role of the service, and the owner of its tables: deploy/postgres/roles.sh makes both.
printf 'postgres://wxpay_service:%s@postgres:5432/wxpay' "$(<postgres_service_password)" | put store_url
printf 'postgres://wxpay_owner:%s@postgres:5432/wxpay' "$(<postgres_owner_password)" | put migrate_url
# shellcheck disable=SC2016 # $ is NATS's, in names of its variables and in subjects
{
    printf '# Included by nats/nats-server.conf and nats/cluster/node.conf. What the users may do:\n'
    printf 'include "../../etc/nats/permissions.conf"\n'
    printf 'authorization {\n    timeout: 2\n    users: [\n'
    printf '        { user: wxpay, password: "%s", permissions: $SERVICE }\n' "$(<nats_password)"
    printf '        { user: admin, password: "%s", permissions: $ADMIN }\n' "$(<nats_admin_password)"
    for file in nats_subscriber_*; do
        name=${file#nats_subscriber_}
        printf '        { user: "%s", password: "%s", permissions: {\n' "$name" "$(<"$file")"
        printf '            publish: [\n'
        printf '                "$JS.API.CONSUMER.MSG.NEXT.PAY_EVENTS.%s"\n' "$name"
        printf '                "$JS.API.CONSUMER.INFO.PAY_EVENTS.%s"\n' "$name"
        printf '                "$JS.ACK.PAY_EVENTS.%s.>"\n            ]\n' "$name"
        printf '            subscribe: ["_INBOX_%s.>"]\n        } }\n' "$name"
    done
    printf '    ]\n}\n'
} | put nats_auth
printf 'nats://admin:%s@nats:4222' "$(<nats_admin_password)" | put nats_url_admin
for file in nats_subscriber_*; do
    name=${file#nats_subscriber_}
    printf 'nats://%s:%s@nats:4222' "$name" "$(<"$file")" | put "nats_url_$name"
done
password=$(<nats_password)
printf 'nats://wxpay:%s@nats:4222' "$password" | put bus_url
printf 'nats://wxpay:%s@nats:4222,nats://wxpay:%s@nats-2:4222,nats://wxpay:%s@nats-3:4222' \
    "$password" "$password" "$password" | put bus_cluster_url
password=$(<nats_route_password)
{
    printf 'ROUTE_PASSWORD: "%s"\n' "$password"
    number=0
    for host in nats nats-2 nats-3; do
        number=$((number + 1))
        printf 'ROUTE_%d: "nats-route://route:%s@%s:6222"\n' "$number" "$password" "$host"
    done
} | put nats_routes

missing=0
for name in v2_key_main:"the merchant's APIv2 key, 32 characters" app_secret_shop:"the app's secret"; do
    have "${name%%:*}" && continue
    printf 'still needed: %s/%s (%s)\n' "$dir" "${name%%:*}" "${name#*:}" >&2
    missing=1
done
exit "$missing"
