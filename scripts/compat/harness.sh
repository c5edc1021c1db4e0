# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# What scripts/compat.sh plays with: processes with an end, lb in front of them, and `both`, which runs a case twice and compares.
# Sourced by compat.sh only. A case is a function that gets a port, works in an empty folder of its own, prints what must be the
# same either way (the last line of it stands in the table), tells by `note` what may differ (rates), and fails by its exit status.

begin() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/lb-compat.XXXXXX")
    chmod 755 "$work" # servers that don't want to be root read in it
    parts=$PWD/scripts/compat
    downloads=$PWD/target/compat
    pids=()
    running=
    failures=0
    ran=0
    skips=0
    : >"$work/counted"
    mkdir -p "$downloads/results" # the newest of each group, for the page
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    unset RUST_LOG LB_ADMIN # readiness is read off the log
    unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
    printf '%s, %s\n\n' "$("$lb" --version)" "$lb"
}

finish() {
    local status=$?
    trap - EXIT
    if [[ -n $running ]]; then kill "$running" 2>/dev/null || true; fi
    stop_all
    if [[ $keep == yes ]] || ((status)); then echo "outputs and logs: $work" >&2; else rm -rf "$work"; fi
    exit "$status"
}

# A port of 127.0.0.1 that nobody has, below those that the kernel gives to clients, into the variable named.
given_ports=" "
free_port() {
    local -n given=$1
    local try hex
    while true; do
        try=$((10000 + RANDOM % 20000))
        printf -v hex ':%04X' "$try"
        if [[ $given_ports != *" $try "* ]] && ! grep -qi -- "$hex " /proc/net/tcp /proc/net/tcp6; then break; fi
    done
    given_ports+="$try "
    given=$try
}

# listens PORT [SECONDS]: waits until something does. Read from the kernel: a connection could be what a server waits for.
listens() {
    local hex end=$((SECONDS + ${2:-30}))
    printf -v hex ':%04X 0*:0000 0A ' "$1"
    while ! grep -qiE -- "$hex" /proc/net/tcp /proc/net/tcp6; do
        if ((SECONDS >= end)); then return 1; fi
        sleep 0.05
    done
}

# start NAME PORT PROGRAM ARGUMENTS…: starts it, and returns when it listens. Its log is $work/NAME.log.
start() {
    local name=$1 port=$2
    shift 2
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    pids+=("$!")
    if ! listens "$port"; then
        echo "compat.sh: $name does not listen on $port:" >&2
        tail -n 20 "$work/$name.log" >&2
        return 1
    fi
}

# By id, the latest first, so that lb doesn't see its backends die.
stop_all() {
    local place pid
    for ((place = ${#pids[@]} - 1; place >= 0; place--)); do
        pid=${pids[place]}
        kill "$pid" 2>/dev/null || true
        timeout 20 tail -s 0.1 --pid="$pid" -f /dev/null || kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
}

# balance NAME BACKEND_PORT…: an lb with its defaults in front of them; from here on `both` compares the first one with lb.
# $extra holds more lines of the service. A known difference that lb means to make is told in $by_design.
balance() {
    local name=$1 port
    shift
    direct_port=$1
    free_port lb_port
    {
        printf '[runtime]\nworkers = %s\ndrain_timeout = "2s"\n[log]\naccess = "%s"\n[admin]\nlisten = "unix:%s"\n' "${workers:-0}" "$work/$name.access" "$work/$name.sock"
        printf '[[service]]\nname = "%s"\nlisten = "127.0.0.1:%s"\n%s\n' "$name" "$lb_port" "${extra:-}"
        for port in "$@"; do
            printf '[[service.backend]]\nname = "b%s"\naddress = "127.0.0.1:%s"\n' "$port" "$port"
        done
    } >"$work/$name.toml"
    start "lb-$name" "$lb_port" "$lb" --config "$work/$name.toml"
    services+=("$name")
}

note() {
    printf '%s' "$*" >>"$NOTE"
}

# Within a case, so that what ends the case ends this too: without --foreground it would leave the case's process group.
timeout() {
    command timeout --foreground "$@"
}

# both PROTOCOL WHAT FUNCTION ARGUMENTS…: FUNCTION PORT ARGUMENTS…, first with the backend's port, then with lb's.
both() {
    local protocol=$1 what=$2 function=$3
    shift 3
    local id cell=() side port status=() verdict
    ran=$((ran + 1))
    printf -v id '%03d-%s' "$ran" "$function"
    for side in direct lb; do
        if [[ $side == direct ]]; then port=$direct_port; else port=$lb_port; fi
        mkdir -p "$work/$id/$side"
        # A shell of its own: errors end it, and when the time is over timeout ends all that it began.
        # shellcheck disable=SC2016
        NOTE=$work/$id/$side.note command timeout --kill-after=10 "$limit" bash -euo pipefail -c 'cd "$1"; shift; "$@"' - \
            "$work/$id/$side" "$function" "$port" "$@" >"$work/$id/$side.out" 2>"$work/$id/$side.err" </dev/null &
        running=$!
        local code=0
        wait "$running" || code=$?
        running=
        status+=("$code")
        local text
        text=$(tail -n 1 "$work/$id/$side.out")
        if ((code)); then text="failed (exit $code) $text"; fi
        if [[ -s $work/$id/$side.note ]]; then text+=" ($(<"$work/$id/$side.note"))"; fi
        cell+=("$text")
        rm -rf "${work:?}/$id/$side"
    done
    if ((status[0])); then
        verdict="**not even directly**"
    elif [[ -n $by_design ]] && ((status[1] == 0)) && ! cmp -s "$work/$id/direct.out" "$work/$id/lb.out"; then
        verdict="by design not: $by_design"
    elif ((status[1])) || ! cmp -s "$work/$id/direct.out" "$work/$id/lb.out"; then
        verdict="**no**"
    else
        verdict=yes
    fi
    row "$protocol" "$what" "${cell[0]}" "${cell[1]}" "$verdict"
    if [[ $verdict == \** ]]; then
        failures=$((failures + 1))
        keep=yes
        {
            diff "$work/$id/direct.out" "$work/$id/lb.out" | head -n 20 || true
            for side in direct lb; do sed "s/^/  $side: /" "$work/$id/$side.err" | tail -n 8; done
        } >&2
    fi
}

row() {
    printf '%s | %s | %s | %s | %s\n' "$@"
    printf '| %s | %s | %s | %s | %s |\n' "${@//|/\\|}" >>"$work/$group.rows"
}

# needs PROTOCOL PROGRAM:PACKAGE…: is all there? What isn't makes a row that says so, and the group ends.
needs() {
    local protocol=$1 pair missing=()
    shift
    for pair in "$@"; do
        has "${pair%%:*}" || missing+=("${pair%%:*} (${pair##*:})")
    done
    if ((${#missing[@]} == 0)); then return 0; fi
    skipped "$protocol" "all" "not installed: ${missing[*]}"
    return 1
}

skipped() {
    skips=$((skips + 1))
    row "$1" "$2" "skipped" "skipped" "skipped: $3"
}

# A program's path, also where only root looks; or a file.
has() {
    case $1 in
        /* | target/*) [[ -e $1 ]] ;;
        *) PATH="$PATH:/usr/sbin:/sbin:/usr/lib/postgresql/15/bin" command -v "$1" >/dev/null ;;
    esac
}

group_begin() {
    : >"$work/$group.rows"
    : >"$work/$group.counted"
    PATH="$PATH:/usr/sbin:/sbin"
    services=()
    extra=
    workers=0
    limit=900
    by_design=
}

# Stops what the group started; what lb says of it goes to the second table: that the bytes did pass, and how connections ended.
group_end() {
    stop_all
    local name ends
    for name in "${services[@]}"; do
        ends=$({ grep -o '"end":"[a-z_]*"' "$work/$name.access" || true; } | sed 's/"end":"\(.*\)"/\1/' | sort | uniq -c | awk '{ printf "%s%s %s", (NR > 1 ? ", " : ""), $2, $1 }')
        awk -v name="$name" -v ends="$ends" -v warnings="$(grep -cE ' (WARN|ERROR) *\]' "$work/lb-$name.log" || true)" '
            { match($0, /"bytes_to_backend":[0-9]+/); to += substr($0, RSTART + 19, RLENGTH - 19)
              match($0, /"bytes_to_client":[0-9]+/); from += substr($0, RSTART + 18, RLENGTH - 18) }
            END { printf "| %s | %d | %.1f MB | %.1f MB | %s | %s |\n", name, NR, to / 1e6, from / 1e6, ends, warnings }
        ' "$work/$name.access" >>"$work/$group.counted"
    done
    cat "$work/$group.counted" >>"$work/counted"
    if [[ $quick == no ]]; then
        cp "$work/$group.rows" "$work/$group.counted" "$downloads/results/"
        date -u '+%F %H:%M' >"$downloads/results/$group.date"
    fi
}

version_of() {
    "$@" 2>&1 | grep -oE '[0-9]+\.[0-9]+[0-9.a-z]*' | head -n 1 || true
}

summary() {
    printf '\nWhat lb counted meanwhile: service, connections, to backends, to clients, how they ended, warnings in its log\n'
    sed 's/^| //; s/ |$//' "$work/counted"
    printf '\n%s compared, %s not the same, %s skipped, %s s\n' "$ran" "$failures" "$skips" "$SECONDS"
    if [[ $write == yes ]]; then write_page; fi
    if ((failures)); then return 1; fi
}

# The newest results of every group go between the marker lines of docs/compatibility.md; its words stay as they are.
write_page() {
    local page=docs/compatibility.md group results=() dates=()
    for group in "${all_groups[@]}"; do
        if [[ -e $downloads/results/$group.rows ]]; then
            results+=("$downloads/results/$group")
            dates+=("$(<"$downloads/results/$group.date")")
        fi
    done
    mapfile -t dates < <(printf '%s\n' "${dates[@]}" | sort)
    {
        sed '/^<!-- begin/q' "$page"
        printf '\n`%s`, %s to %s UTC; %s, %s cores of %s, %s GiB, %s, Linux %s.\n' "scripts/compat.sh --write" "${dates[0]}" "${dates[-1]}" \
            "$("$lb" --version)" "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
            "$(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)" "$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)" "$(uname -r)"
        versions
        printf '\n| protocol | what ran | directly | through lb | same? |\n|---|---|---|---|---|\n'
        cat "${results[@]/%/.rows}"
        printf '\nWhat `lb` counted meanwhile:\n\n| service | connections | to backends | to clients | how they ended | warnings in its log |\n|---|--:|--:|--:|---|--:|\n'
        cat "${results[@]/%/.counted}"
        echo
        sed -n '/^<!-- end/,$p' "$page"
    } >"$work/page"
    cat "$work/page" >"$page"
    echo "$page is written"
}

versions() {
    local line program
    printf 'Versions: '
    line=
    for program in redis-server nginx curl wrk h2load psql iperf3 rsync sipp mariadbd mosquitto dnsmasq python3; do
        if has "$program"; then
            case $program in
                nginx | wrk) line+="$program $(version_of "$program" -v), " ;;
                sipp) line+="$program $(version_of "$program" -v), " ;;
                *) line+="$program $(version_of "$program" --version), " ;;
            esac
        fi
    done
    if has sshd; then line+="$(ssh -V 2>&1 | cut -d, -f1), "; fi
    if [[ -x target/compat/venv/bin/pip ]]; then
        line+="$(target/compat/venv/bin/pip list --format=freeze 2>/dev/null | grep -E '^(kosoku|websockets)==' | sed 's/==/ /' | paste -sd, | sed 's/,/, /g'), "
    fi
    echo "${line%, }."
}
