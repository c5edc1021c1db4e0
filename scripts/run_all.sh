#!/usr/bin/env bash
# The whole of it at once: builds, starts three echo backends and the balancer, runs the client through it, prints what each
# backend got, and stops everything it started. Exit 0 only if every byte came back.
#
#   scripts/run_all.sh                   100 connections, one message each
#   scripts/run_all.sh --keep            leaves backends and balancer running
#   scripts/run_all.sh -- --conns 1000   what stands behind -- goes to the client
set -euo pipefail
cd "$(dirname "$0")/.."
unset RUST_LOG # readiness is read off the log

keep=no
client_arguments=(--conns 100)
while (($#)); do
    case $1 in
        --keep) keep=yes ;;
        --) shift; client_arguments=("$@"); break ;;
        -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "run_all.sh: $1 found; allowed: --keep, --help, -- CLIENT_ARGUMENTS" >&2; exit 2 ;;
    esac
    shift
done

ports=(9001 9002 9003)
logs=$(mktemp -d "${TMPDIR:-/tmp}/lb-run.XXXXXX")
pids=()

stop() {
    # By id, the balancer first, so that it doesn't see its backends die.
    local pid
    for ((place = ${#pids[@]} - 1; place >= 0; place--)); do
        pid=${pids[place]}
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
}

finish() {
    local status=$?
    trap - EXIT
    stop
    if ((status)); then echo "run_all.sh: failed; the logs are in $logs" >&2; else rm -rf "$logs"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME PATTERN PROGRAM ARGUMENTS…: starts it and returns when its log says that it is ready.
start() {
    local name=$1 pattern=$2 program=$3 pid follower events
    shift 3
    : >"$logs/$name.log" # before anybody follows it
    "target/release/$program" "$@" >>"$logs/$name.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    # tail ends when the program does, so this waits for an event either way, and never longer than 15 s.
    exec {events}< <(exec tail -n +1 -f --pid="$pid" -- "$logs/$name.log" 2>/dev/null)
    follower=$!
    if ! timeout 15 grep -q -m1 -- "$pattern" <&"$events"; then
        echo "run_all.sh: $name did not start:" >&2
        sed 's/^/  /' "$logs/$name.log" >&2
        exit 1
    fi
    kill "$follower" 2>/dev/null || true
    exec {events}<&-
}

cargo build --release --locked --bins
for port in "${ports[@]}"; do
    # 9001 tells of itself on 9101: lb.toml has its address, and the dashboard shows it.
    start "tcp_server-$port" "http on" tcp_server "$port" --http "$((port + 100))"
done
start lb "ready" lb --config lb.toml

echo
echo "dashboard: http://127.0.0.1:8000/ (while lb runs; --keep leaves it running)"
echo "client ${client_arguments[*]}"
target/release/client "${client_arguments[@]}"

if [[ $keep == yes ]]; then
    trap - EXIT
    echo
    echo "still running: the balancer on 127.0.0.1:9000 (pid ${pids[-1]}), backends on 127.0.0.1:9001 to 9003"
    echo "  watch it: http://127.0.0.1:8000/ in a browser, or target/release/lb top"
    echo "  try it:  target/release/client --conns 1000 --requests 10"
    echo "  its log: $logs/lb.log"
    echo "  stop it: kill ${pids[-1]} ${pids[*]:0:${#pids[@]}-1}"
    disown -a
    exit 0
fi

stop
echo
echo "what each backend got"
sed -n 's/^.*INFO *\] *[^:]*: \([^:]*\): \([0-9]* connections\), \([0-9]* failed connects\), \([0-9]*\) bytes to it, \([0-9]*\) bytes from it$/  \1  \2  \3  \4 bytes to it  \5 bytes from it/p' "$logs/lb.log"
