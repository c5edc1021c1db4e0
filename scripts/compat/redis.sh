# shellcheck shell=bash disable=SC2034,SC2154
# redis: its own test suite against an external server, redis-benchmark, and what the suite has little of.

group_redis() {
    needs redis redis-server:redis-server redis-cli:redis-tools redis-benchmark:redis-tools || return 0
    local port
    free_port port
    mkdir -p "$work/redis"
    start redis "$port" redis-server --port "$port" --bind 127.0.0.1 --save "" --dir "$work/redis" \
        --enable-protected-configs yes --enable-debug-command yes --enable-module-command yes
    balance redis "$port"
    both redis "PING, INCR, GET with redis-cli" redis_cli
    both redis "a value of 64 MiB, there and back" redis_big
    both redis "pipelining: 200,000 SETs in one stream (\`redis-cli --pipe\`)" redis_pipe
    both redis "blocking: BLPOP served, BLPOP that times out, XREAD BLOCK" redis_blocking
    both redis "pub/sub: 20,000 messages; then the server ends the subscriber" redis_pubsub
    both redis "redis-benchmark, 50 clients, 16 in a pipeline" redis_bench
    if [[ $quick == yes ]]; then return 0; fi
    both redis "MONITOR beside other clients" redis_monitor
    both redis "a replica that follows through the same port: full copy, then the stream" redis_replica
    if ! has tclsh || [[ ! -d target/compat/redis ]]; then
        skipped redis "its own test suite" "not there: tclsh, or redis's sources in target/compat/redis (--install gets both)"
        return 0
    fi
    # A server each: the suite leaves settings behind that its next run fails on. It keeps connections open that it uses again much later,
    # and with a question and an answer at a time it takes long on a busy machine: longer than lb's idle_timeout of 5 minutes.
    local direct through
    free_port direct
    free_port through
    for port in "$direct" "$through"; do
        mkdir "$work/redis/$port"
        start "redis-$port" "$port" redis-server --port "$port" --bind 127.0.0.1 --save "" --dir "$work/redis/$port" \
            --enable-protected-configs yes --enable-debug-command yes --enable-module-command yes
    done
    extra='idle_timeout = "1h"'
    # It goes by the order in which commands on different connections arrive ("BRPOPLPUSH with multiple blocked clients" waits for good
    # when that changes), and two threads don't keep it.
    workers=1
    balance redis-suite "$through"
    direct_port=$direct
    limit=1800
    both redis "its own test suite, external mode, without \`slow\`, lb with workers = 1" redis_suite
}

redis_cli() {
    redis-cli -p "$1" flushall
    redis-cli -p "$1" ping
    redis-cli -p "$1" set counter 41
    redis-cli -p "$1" incr counter
    redis-cli -p "$1" get counter
    redis-cli -p "$1" -3 hgetall nothing
    redis-cli -p "$1" lpush counter x 2>&1 # an error must be one
    echo "ok"
}

redis_big() {
    local size=$((64 * 1024 * 1024))
    head -c "$size" /dev/urandom >value
    [[ $(redis-cli -p "$1" -x set big <value) == OK ]]
    echo >>value # as redis-cli ends what it prints
    redis-cli -p "$1" --raw get big | cmp - value
    redis-cli -p "$1" del big
    echo "the same bytes"
}

redis_pipe() {
    redis-cli -p "$1" flushall
    awk 'BEGIN { for (i = 0; i < 200000; i++) { k = "key:" i; v = "value of " i * 7919; printf "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", length(k), k, length(v), v } }' |
        timeout 60 redis-cli -p "$1" --pipe
    printf 'digest of all: %s\n' "$(redis-cli -p "$1" debug digest)"
    redis-cli -p "$1" flushall
    echo "200,000 replies, the digest of the data is the same"
}

redis_blocking() {
    local begun=$EPOCHSECONDS
    timeout 30 redis-cli -p "$1" blpop queue 20 >popped &
    until redis-cli -p "$1" client list | grep -q cmd=blpop; do sleep 0.02; done
    redis-cli -p "$1" rpush queue job
    wait "$!"
    cat popped
    timeout 30 redis-cli -p "$1" blpop queue 2
    ((EPOCHSECONDS - begun >= 1))
    timeout 30 redis-cli -p "$1" xread block 20000 streams s '$' >got &
    until redis-cli -p "$1" client list | grep -q cmd=xread; do sleep 0.02; done
    redis-cli -p "$1" xadd s 1-1 field word
    wait "$!"
    cat got
    redis-cli -p "$1" del s
    echo "served, timed out, served"
}

redis_pubsub() {
    # redis-cli alone would connect again when the server ends it; --raw into a file doesn't wait for a terminal.
    timeout 60 redis-cli -p "$1" --raw subscribe news >heard 2>&1 &
    until [[ $(redis-cli -p "$1" pubsub numsub news | tail -n 1) == 1 ]]; do sleep 0.02; done
    seq -f 'PUBLISH news %06.0f' 20000 | redis-cli -p "$1" | sort | uniq -c
    until [[ $(grep -c '^[0-9]\{6\}$' heard) == 20000 ]]; do sleep 0.02; done
    redis-cli -p "$1" client kill type pubsub
    kill "$!" 2>/dev/null || true
    wait "$!" || true
    grep '^[0-9]\{6\}$' heard | sha256sum
    echo "20,000 heard, in order; ended"
}

redis_bench() {
    redis-cli -p "$1" flushall
    local tests=()
    if [[ $quick == yes ]]; then tests=(-t "ping,set,get,lpush,lpop,lrange_100,mset"); fi
    timeout 300 redis-benchmark -p "$1" "${tests[@]}" -n 20000 -c 50 -P 16 -d 256 -r 1000 --csv >figures
    cut -d, -f1 figures
    note "SET $(awk -F'"' '$2 == "SET" { printf "%.0f", $4 / 1000 }' figures)k/s"
    printf '%s commands without an error\n' "$(($(wc -l <figures) - 1))"
}

redis_monitor() {
    local i
    timeout 60 redis-cli -p "$1" monitor >seen &
    until grep -q OK seen; do sleep 0.02; done
    for i in 1 2 3; do redis-cli -p "$1" set "key$i" "$(printf 'x%.0s' {1..2000})" >/dev/null; done
    redis-cli -p "$1" set last one >/dev/null
    until grep -q '"last"' seen; do sleep 0.02; done
    kill "$!"
    wait "$!" || true
    sed 's/^[0-9.]* \[[^]]*\] //' seen | sha256sum
    printf '%s lines\n' "$(wc -l <seen)"
}

redis_replica() {
    local port=$(($1 < 20000 ? $1 + 10000 : $1 - 9000)) pid
    redis-cli -p "$1" flushall
    redis-cli -p "$1" debug populate 50000 before 200
    redis-server --port "$port" --bind 127.0.0.1 --save "" --dir . --enable-debug-command yes --replicaof "127.0.0.1 $1" >replica.log 2>&1 &
    pid=$!
    # shellcheck disable=SC2064
    trap "kill $pid" EXIT
    until redis-cli -p "$port" info replication 2>/dev/null | grep -q master_link_status:up; do sleep 0.05; done
    seq -f 'SET after:%.0f word' 20000 | redis-cli -p "$1" | sort | uniq -c
    [[ $(redis-cli -p "$1" wait 1 20000) == 1 ]]
    redis-cli -p "$1" debug digest >first
    redis-cli -p "$port" debug digest | cmp - first
    redis-cli -p "$1" flushall
    echo "70,000 keys, the same digest on both"
}

redis_suite() {
    local program ok failed
    cp -r "$downloads/redis/tests" "$downloads/redis/runtest" .
    mkdir src
    for program in redis-server redis-cli redis-benchmark redis-check-rdb redis-check-aof; do ln -s "$(command -v $program)" "src/$program"; done
    timeout 1700 ./runtest --host 127.0.0.1 --port "$1" --tags -slow >log 2>&1 || true
    sed -i 's/\x1b\[[0-9;]*m//g' log
    # Some names hold random numbers.
    grep -E '^\[(ok|err|exception|timeout)\]' log | sed 's/ ([0-9]* ms)$//; s/[0-9][0-9]*/N/g' | sort -u
    ok=$(grep -c '^\[ok\]' log)
    failed=$(grep -oE '^\[(err|exception|timeout)\]: .*' log | sed 's/^\[[a-z]*\]: //' | sort -u | paste -sd';' || true)
    ((ok > 1000))
    printf '%s tests pass; fail: %s\n' "$ok" "${failed:-none}"
}
