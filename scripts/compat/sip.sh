# shellcheck shell=bash disable=SC2034,SC2154
# SIP over TCP: sipp's own caller and callee.

group_sip() {
    needs SIP sipp:sip-tester || return 0
    local port
    free_port port
    start sipp "$port" sipp -sn uas -t t1 -i 127.0.0.1 -p "$port" -nostdin -trace_err -error_file "$work/sipp.errors"
    # sipp ends when anybody resets a connection to it, and lb's health checks end by a reset.
    extra=$'[service.health]\nkind = "off"'
    balance sip "$port"
    both SIP "500 calls, 100 a second, over one connection (-t t1)" sip_calls t1
    both SIP "500 calls, each with a connection of its own (-t tn)" sip_calls tn
}

sip_calls() {
    local code=0
    TERM=dumb timeout 60 sipp -sn uac -t "$2" -i 127.0.0.1 127.0.0.1:"$1" -m 500 -r 100 -max_socket 600 -nostdin -trace_stat -stf stat.csv -fd 1 -timeout 50 >log 2>&1 || code=$?
    # The last line of the statistics, by the names of its columns.
    awk -F';' 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i } END { printf "%d calls succeeded, %d failed, %d retransmissions\n", $at["SuccessfulCall(C)"], $at["FailedCall(C)"], $at["Retransmissions(C)"] }' stat.csv
    return "$code"
}
