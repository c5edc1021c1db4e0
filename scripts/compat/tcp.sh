# shellcheck shell=bash disable=SC2034,SC2154
# TCP's own corners, as programs use them: half-close either way, reset, an urgent byte, one byte at a time.

group_tcp() {
    needs TCP python3:python3 || return 0
    local port what
    free_port port
    start tcp "$port" python3 scripts/compat/tcp_server.py "$port"
    balance tcp "$port"
    local -A cases=(
        [1 half-close]="the client's FIN, then 50 MB of answer to it"
        [2 server-first-fin]="the server's FIN, then 50 MB of the client"
        [3 reset-by-server]="a reset by the server in the middle"
        [4 reset-by-client]="a reset by the client: what the server sees"
        [5 urgent]="an urgent byte (MSG_OOB) stays in its place, for a server that reads it in line"
        [6 urgent-mark]="an urgent byte for a server that reads it apart (without SO_OOBINLINE)"
        [7 byte-by-byte]="5,000 bytes one at a time"
        [8 silent]="a connection that nobody speaks on, closed by the client"
    )
    while IFS= read -r what; do
        # lb can't carry urgency on, so it keeps the byte instead.
        if [[ $what == *urgent-mark ]]; then by_design="the byte is kept"; fi
        both TCP "${cases[$what]}" tcp_case "${what#* }"
        by_design=
    done < <(printf '%s\n' "${!cases[@]}" | sort)
}

tcp_case() {
    timeout 60 python3 "$parts/tcp_client.py" "$1" "$2"
}
