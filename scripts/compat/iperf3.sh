# shellcheck shell=bash disable=SC2034,SC2154
# iperf3: bulk one way, the other, both at once, 8 streams. It counts bytes and doesn't look at them.

group_iperf3() {
    needs iperf3 iperf3:iperf3 || return 0
    local port seconds=5
    if [[ $quick == yes ]]; then seconds=1; fi
    free_port port
    start iperf3 "$port" iperf3 -s -p "$port" -B 127.0.0.1
    balance iperf3 "$port"
    both iperf3 "to the server, $seconds s" iperf -t "$seconds"
    both iperf3 "from the server (-R)" iperf -t "$seconds" -R
    if [[ $quick == yes ]]; then return 0; fi
    both iperf3 "8 streams (-P 8)" iperf -t "$seconds" -P 8
    both iperf3 "8 streams from the server (-P 8 -R)" iperf -t "$seconds" -P 8 -R
    both iperf3 "exactly 4 GB (-n)" iperf -n 4000000000
    # iperf3 knows its two connections by the order in which they arrive: lb with one worker keeps that, with more it may change.
    workers=1
    balance iperf3-one-worker "$port"
    both iperf3 "both ways at once (--bidir), lb with workers = 1" iperf -t "$seconds" --bidir
}

iperf() {
    local port=$1
    shift
    # Right after a test the server may still be closing it.
    local try
    for try in {1..50}; do
        if timeout 60 iperf3 -c 127.0.0.1 -p "$port" "$@" -f g >log 2>&1; then break; fi
        grep -q 'busy' log || { cat log >&2; return 1; }
        sleep 0.1
        [[ $try != 50 ]]
    done
    # One line a direction; with several streams, that of their sum.
    note "$(awk '/receiver/ { is_sum = /SUM/; match($0, /[0-9.]+ Gbits/); rate = substr($0, RSTART, RLENGTH - 6)
        if (is_sum && !sums++) all = rate; else if (is_sum || !sums) all = all (all ? " + " : "") rate } END { print all " Gbit/s" }' log)"
    grep -q 'iperf Done' log
    # A direction without a byte is none.
    if grep receiver log | grep -q ' 0.00 Bytes'; then cat log >&2; return 1; fi
    echo "done"
}
