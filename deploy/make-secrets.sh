#!/usr/bin/env bash
# Makes the secrets of docker-compose.yml that this installation chooses itself, in deploy/secrets (or the directory
# given): passwords of PostgreSQL and NATS with the addresses that contain them, the key of the session cookie. Existing
# files are kept, so it may run again. Secrets that only WeChat issues (merchant key, app secret) are listed at the end
# until they are there.
set -euo pipefail

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
have nats_password || random | put nats_password
have nats_route_password || random | put nats_route_password
have session_key || random | put session_key

# These follow from the passwords, and are written each time so that they can't differ.
password=$(<postgres_password)
printf 'postgres://wxpay:%s@postgres:5432/wxpay' "$password" | put store_url
password=$(<nats_password)
printf 'authorization { user: wxpay, password: "%s", timeout: 2 }\n' "$password" | put nats_auth
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
