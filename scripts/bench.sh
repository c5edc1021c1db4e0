#!/usr/bin/env bash
# lb beside HAProxy, nginx and no balancer, on this machine: prints tables, writes results/bench.json and results/bench.html.
#
#   scripts/bench.sh               the whole of it, about a quarter of an hour
#   scripts/bench.sh --quick       a look, under three minutes
#   scripts/bench.sh --help        every option
#   HAPROXY=/path/to/haproxy scripts/bench.sh    another HAProxy beside the installed one
#
# Installs haproxy, nginx and the tools that the load generator is checked against, if it may (root, or sudo without a password);
# who is missing is named and left out. The peers' configurations are in scripts/bench/, the measuring itself in benches/compare/.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
need() {
    command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]] || packages+=("$2")
}
need haproxy haproxy
need nginx nginx-light
[[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]] || packages+=(libnginx-mod-stream)
need redis-benchmark redis-tools
need redis-server redis-server
need iperf3 iperf3
need ip iproute2

if ((${#packages[@]} > 0)) && [[ " $* " != *" --help "* ]]; then
    as_root=()
    if ((EUID != 0)); then as_root=(sudo -n); fi
    # Debian starts what it installs; nothing of that is wanted here.
    if command -v apt-get >/dev/null && "${as_root[@]}" true 2>/dev/null; then
        echo "installing ${packages[*]}"
        policy=/usr/sbin/policy-rc.d
        if [[ ! -e $policy ]]; then
            printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
            "${as_root[@]}" chmod +x $policy
            trap '"${as_root[@]}" rm -f $policy' EXIT
        fi
        if ! { "${as_root[@]}" apt-get update -qq &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${packages[@]}"; } >/dev/null; then
            echo "skipped: installing ${packages[*]}: apt-get failed" >&2
        fi
    else
        echo "skipped: installing ${packages[*]}: needs apt-get, and root or sudo without a password" >&2
    fi
fi

ulimit -n "$(ulimit -Hn)"
cargo bench --quiet --locked --bench compare -- "$@"
