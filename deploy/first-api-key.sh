#!/usr/bin/env bash
# Makes the API key of the shop's server, prints it once to standard output, and adds an entry with its hash to the
# configuration. Refuses where the configuration has an API key already: `wxpayctl keys new` makes further ones.
#
#   deploy/first-api-key.sh [CONFIGURATION]      default: deploy/config/wxpay.toml
set -euo pipefail

file=${1:-$(dirname -- "${BASH_SOURCE[0]}")/config/wxpay.toml}
[[ -w $file ]] || { printf 'error: %s cannot be written\n' "$file" >&2; exit 2; }
if grep -q '^\[\[api_keys\]\]' "$file"; then
    printf 'error: %s has an API key already; wxpayctl keys new makes further ones\n' "$file" >&2
    exit 1
fi
# 192 random bits in hexadecimal.
key=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
hash=$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)
printf '\n[[api_keys]]\nname = "shop-backend"\nid = "shop-backend"\nhash = "sha256:%s"\n%s\n' "$hash" \
    'scopes = ["orders", "refunds", "finance", "ops"]' >>"$file"
printf 'the hash is in %s; the key of shop-backend, which is not shown again:\n' "$file" >&2
printf '%s\n' "$key"
