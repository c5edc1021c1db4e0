#!/usr/bin/env bash
# What each policy does with real connections, on this machine: writes results/a1.json to a7.json, results/requests_per_server.txt,
# results/response_times.json and results/report.html, a page with pictures that opens without a network.
#
#   scripts/experiments.sh               the whole of it, about five minutes
#   scripts/experiments.sh --quick       a look, under 40 seconds once it is built
#   scripts/experiments.sh --help        every option
#
# As root each measurement has a network of its own (iproute2's ip). The measuring itself is in benches/experiments/.
set -euo pipefail
cd "$(dirname "$0")/.."

ulimit -n "$(ulimit -Hn)"
cargo bench --quiet --locked --bench experiments -- "$@"
