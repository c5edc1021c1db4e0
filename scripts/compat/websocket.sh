# shellcheck shell=bash disable=SC2034,SC2154
# WebSocket: the Autobahn test suite's own cases, driven by kosoku, against two echo servers (Python's websockets).

group_websocket() {
    local python=target/compat/venv/bin/python ports=() port which
    if [[ ! -x target/compat/venv/bin/kosoku ]]; then
        skipped WebSocket "the Autobahn cases" "not there: kosoku and websockets in target/compat/venv (--install gets them)"
        return 0
    fi
    for which in 1 2; do
        free_port port
        WEBSOCKETS_MAX_FRAGMENTS=1000000 start "websocket-$which" "$port" "$python" scripts/compat/websocket_echo.py "$port"
        ports+=("$port")
    done
    balance websocket "${ports[@]}"
    # By their numbers: 9 is bulk, 12 and 13 compression, of which the first group of each is run. The others are the same messages with
    # other texts and window sizes; on a busy machine now this, now that one of them runs out of the runner's time, without lb as well.
    both WebSocket "Autobahn's cases 1 to 7 and 10: framing, pings, fragments, UTF-8, closing" websocket_cases -x '9.*' -x '12.*' -x '13.*'
    limit=1800
    both WebSocket "Autobahn's cases 9, 12.1 and 13.1: messages up to 16 MiB, permessage-deflate" websocket_cases -i '9.*' -i '12.1.*' -i '13.1.*'
}

websocket_cases() {
    local port=$1
    shift
    timeout 1700 "$downloads/venv/bin/kosoku" "$@" -o first "127.0.0.1:$port" >log 2>&1 || true
    # Each case has a time of its own, too short on a busy machine: who failed has a second chance, alone.
    local again=() name
    for name in $(python3 "$parts/websocket_report.py" first/index.json | awk '$2 == "FAILED" { print $1 }'); do again+=(-i "$name"); done
    mkdir second
    if ((${#again[@]} > 0)); then timeout 1700 "$downloads/venv/bin/kosoku" "${again[@]}" -o second "127.0.0.1:$port" >>log 2>&1 || true; fi
    python3 "$parts/websocket_report.py" first/index.json second/index.json
}
