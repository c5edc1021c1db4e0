# shellcheck shell=bash disable=SC2154
# PostgreSQL: pgbench, bulk both ways, the cancel request (a second connection), replication, and its own regression tests.

group_postgres() {
    needs PostgreSQL psql:postgresql-client-15 || return 0
    local programs=/usr/lib/postgresql/15/bin port as=()
    needs PostgreSQL $programs/postgres:postgresql-15 || return 0
    PATH="$programs:$PATH"
    mkdir -p "$work/pg"
    # It refuses to run as root.
    if ((EUID == 0)); then
        chown postgres "$work/pg"
        as=(setpriv --reuid postgres --regid postgres --clear-groups)
    fi
    "${as[@]}" $programs/initdb -D "$work/pg/data" -U postgres -A trust --no-locale -E UTF8 >"$work/initdb.log"
    free_port port
    export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=20 PGSSLMODE=prefer
    start postgres "$port" "${as[@]}" $programs/postgres -D "$work/pg/data" -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c fsync=off -c wal_level=replica -c max_wal_size=4GB -c max_connections=60
    until psql -p "$port" -qc 'select 1' >/dev/null 2>&1; do sleep 0.1; done
    balance postgres "$port"
    both PostgreSQL "psql: a query, an error, a notification, \\\\copy" pg_psql
    both PostgreSQL "cancel request: Ctrl-C during pg_sleep(60)" pg_cancel
    if [[ $quick == yes ]]; then return 0; fi
    both PostgreSQL "pgbench -i, scale 10" pg_init
    both PostgreSQL "pgbench, 8 clients, simple protocol" pg_bench simple 1000
    both PostgreSQL "pgbench, 8 clients, prepared" pg_bench prepared 1000
    both PostgreSQL "pgbench -C, a connection a transaction" pg_bench simple 200 -C
    both PostgreSQL "COPY of 1 GB in and out, text and binary" pg_copy
    both PostgreSQL "pg_dump | psql, dumped again" pg_dump_restore
    both PostgreSQL "pg_basebackup with its WAL stream, verified" pg_backup
    if [[ ! -d target/compat/postgresql || ! -d target/compat/postgresql-headers ]] || ! has gcc; then
        skipped PostgreSQL "its own regression tests" "not there: gcc, or PostgreSQL's sources and headers in target/compat (--install gets them)"
        return 0
    fi
    # In a folder that the server may read, and write its COPY TO into.
    cp -r target/compat/postgresql/src/test/regress "$work/pg/regress"
    mkdir "$work/pg/lib"
    gcc -shared -fPIC -O2 -w -o "$work/pg/lib/regress.so" -Itarget/compat/postgresql-headers/usr/include/postgresql/15/server \
        -I/usr/include/postgresql/15/server "$work/pg/regress/regress.c" 2>"$work/regress.log"
    cp /usr/lib/postgresql/15/lib/{refint,autoinc}.so "$work/pg/lib/"
    if ((EUID == 0)); then chown -R postgres "$work/pg/regress" "$work/pg/lib"; fi
    both PostgreSQL "its own regression tests (installcheck, parallel schedule)" pg_regress_all
}

pg_psql() {
    psql -p "$1" -Atc "select count(*), sum(i) from generate_series(1, 1000000) i"
    psql -p "$1" -Atc "select 1/0" 2>&1 || true
    # The notice has the backend's process id.
    psql -p "$1" -At <<<"listen c; notify c, 'word';" | sed 's/PID [0-9]*/PID/'
    seq 1 200000 | psql -p "$1" -qAt -c 'create temp table t (i int)' -c '\copy t from stdin' -c 'select sum(i) from t'
    echo "the same answers"
}

pg_cancel() {
    local begun=$EPOCHSECONDS
    timeout -s INT 2 psql -p "$1" -c 'select pg_sleep(60)' 2>&1 || true
    ((EPOCHSECONDS - begun < 20))
    psql -p "$1" -Atc "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'"
    echo "canceled, no query is left"
}

pg_init() {
    pgbench -p "$1" -i -s 10 -q 2>log
    psql -p "$1" -Atc 'select count(*), sum(aid) from pgbench_accounts'
    echo "1,000,000 rows"
}

pg_bench() {
    local port=$1 mode=$2 count=$3
    shift 3
    psql -p "$port" -qc 'truncate pgbench_history' -c 'update pgbench_branches set bbalance = 0' -c 'update pgbench_tellers set tbalance = 0'
    timeout 300 pgbench -p "$port" -n -c 8 -j 1 -M "$mode" -t "$count" --random-seed=1 "$@" >log
    note "$(sed -n 's/^tps = \([0-9]*\).*/\1 transactions\/s/p' log)"
    sed -n 's/^number of \(failed\)/\1/p' log
    # The seed makes the sums the same each time.
    psql -p "$port" -Atc 'select (select sum(bbalance) from pgbench_branches) = sum(delta), (select sum(tbalance) from pgbench_tellers) = sum(delta), sum(delta), count(*) from pgbench_history'
    sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1 transactions, the sums agree/p' log
}

pg_copy() {
    local line sum_in sum_out
    printf -v line '%*s' 988 ''
    psql -p "$1" -qc 'drop table if exists copied' -c 'create unlogged table copied (i int, filler text)'
    copy_rows "${line// /x}" | psql -p "$1" -qc 'copy copied from stdin' >&2
    sum_in=$(copy_rows "${line// /x}" | sha256sum)
    sum_out=$(psql -p "$1" -qc 'set synchronize_seqscans = off' -c 'copy copied to stdout' | sha256sum)
    [[ $sum_in == "$sum_out" ]]
    psql -p "$1" -qc 'set synchronize_seqscans = off' -c 'copy copied to stdout (format binary)' | sha256sum
    psql -p "$1" -qc 'drop table copied'
    echo "1.0 GB, sha256 ${sum_out:0:12}"
}

copy_rows() {
    seq -f "%.0f	$1" 1000000 1999999
}

pg_dump_restore() {
    psql -p "$1" -qc 'drop database if exists again' -c 'create database again'
    pg_dump -p "$1" -t 'pgbench_*' | grep -vE '^.(un)?restrict' >first.sql
    psql -p "$1" -q -d again -v ON_ERROR_STOP=1 -f first.sql >/dev/null
    pg_dump -p "$1" -t 'pgbench_*' -d again | grep -vE '^.(un)?restrict' | cmp - first.sql
    psql -p "$1" -qc 'drop database again'
    note "$(($(wc -c <first.sql) / 1000000)) MB"
    echo "the same dump"
}

pg_backup() {
    pg_basebackup -p "$1" -D copy -X stream -c fast
    pg_verifybackup copy >&2
    echo "verified"
}

pg_regress_all() {
    local out=$work/pg/regress/out failed
    rm -rf "$out"
    mkdir -p "$out/results"
    if ((EUID == 0)); then chown -R postgres "$out"; fi
    timeout 800 /usr/lib/postgresql/15/lib/pgxs/src/test/regress/pg_regress --host=127.0.0.1 --port="$1" --user=postgres --bindir=/usr/lib/postgresql/15/bin \
        --dlpath="$work/pg/lib" --inputdir="$work/pg/regress" --outputdir="$out" --schedule="$work/pg/regress/parallel_schedule" --max-connections=20 >log 2>&1 || true
    sed -E 's/ +[0-9]+ ms//; s/^test (\S+)/\1/' log | grep -E '\.\.\. ' | sed 's/^ *//'
    failed=$(sed -nE 's/^(test)? +(\S+) +\.\.\. FAILED.*/\2/p' log | paste -sd' ')
    # What those print instead is to be the same too.
    if [[ -s $out/regression.diffs ]]; then grep -vE '^(---|\+\+\+|diff) ' "$out/regression.diffs" | sha256sum; fi
    printf '%s tests pass of %s; fail: %s\n' "$(grep -c '\.\.\. ok' log)" "$(grep -cE '\.\.\. (ok|FAILED)' log)" "${failed:-none}"
}
