#!/usr/bin/env bash
# install.sh [PACKAGE…]: installs Debian's packages, as root; elsewhere it does nothing. Without words: all that tests and
# the story start (test/support/programs.json). No package starts its server, which nobody has asked for.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "${TEST_INSTALL:-}" != no ] && [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] || exit 0

packages="$*"
if [ -z "$packages" ]; then
  packages=$(node -p 'Object.values(require("./test/support/programs.json")).map((program) => program.package).join(" ")')
fi
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null || true
# What is here stays as it is. A machine that is lost half-way is made anew: nothing waits for the disk.
# shellcheck disable=SC2086
apt-get install -qy --no-install-recommends --no-upgrade -o Dpkg::Options::=--force-unsafe-io $packages >/dev/null
