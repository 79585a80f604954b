#!/usr/bin/env bash
# Fills in the digest of each image that the compose files and the Dockerfile name by a version: `name:1.2.3` becomes
# `name:1.2.3@sha256:…`, as the registry has it now. From then on replacing a version at the registry does not change
# what is started here. Run it again after another version was written; what has a digest stays.
#
#   deploy/pin-images.sh [DIRECTORY]     default: the checkout; needs docker with buildx
set -euo pipefail

cd -- "${1:-$(dirname -- "${BASH_SOURCE[0]}")/..}"
files=(docker-compose.yml nats/cluster/docker-compose.yml deploy/Dockerfile)
# What is built here has no digest at a registry.
mapfile -t images < <(
    sed -nE 's/^ *image: ([^ @]+:[^ @]+)$/\1/p; s/^FROM ([^ @]+:[^ @]+)( AS .*)?$/\1/p' "${files[@]}" |
        grep -v '^wxpay-worker:' | sort -u
)
for image in "${images[@]}"; do
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { printf 'error: no digest of %s\n' "$image" >&2; exit 1; }
    # Versions have no signs that a pattern of sed would read, but for the dot.
    sed -i -E "s|^( *image: ${image//./\\.})\$|\1@$digest|; s|^(FROM ${image//./\\.})( AS .*)?\$|\1@$digest\2|" \
        "${files[@]}"
    printf '%s@%s\n' "$image" "$digest"
done
