# shellcheck shell=bash disable=SC2154
# MariaDB: here the server speaks first.

group_mariadb() {
    needs MariaDB mariadbd:mariadb-server mariadb:mariadb-client mariadb-slap:mariadb-client mariadb-install-db:mariadb-server || return 0
    local port user=()
    if ((EUID == 0)); then user=(--user=root); fi
    mariadb-install-db --no-defaults "${user[@]}" --datadir="$work/mariadb" --skip-test-db --auth-root-authentication-method=normal >"$work/mariadb-install.log" 2>&1
    free_port port
    start mariadb "$port" "$(command -v mariadbd)" --no-defaults "${user[@]}" --datadir="$work/mariadb" --port="$port" --bind-address=127.0.0.1 \
        --socket="$work/mariadb.socket" --pid-file="$work/mariadb.pid" --max-allowed-packet=128M --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync --local-infile=1
    balance mariadb "$port"
    both MariaDB "a query, an error, KILL QUERY from a second connection" maria_query
    both MariaDB "a BLOB of 64 MB in and out" maria_blob
    both MariaDB "LOAD DATA LOCAL of 500,000 rows; mariadb-dump, loaded and dumped again" maria_load
    both MariaDB "mariadb-slap, 16 clients, 8,000 queries" maria_slap
    both MariaDB "500 connections one after the other" maria_connections
}

maria() {
    local port=$1
    shift
    mariadb --no-defaults -h 127.0.0.1 -P "$port" -u root --protocol=tcp --max-allowed-packet=128M --local-infile=1 -N "$@"
}

maria_query() {
    local id
    maria "$1" mysql -e 'select sum(seq) from seq_1_to_1000000'
    maria "$1" -e 'select nothing' 2>&1 || true
    maria "$1" -e 'select connection_id(); select sleep(60)' --unbuffered >slept 2>&1 &
    until id=$(maria "$1" -e "select id from information_schema.processlist where info like '%sleep(60)' and info not like '%processlist%'") && [[ -n $id ]]; do sleep 0.1; done
    maria "$1" -e "kill query $id"
    wait "$!" || true
    tail -n +2 slept
    echo "answered, refused, killed"
}

maria_blob() {
    head -c 32000000 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >hex
    { printf "create or replace table test_blob (b longblob) engine=aria; insert into test_blob values (x'"; cat hex; printf "');"; } >in.sql
    maria "$1" mysql <in.sql
    maria "$1" mysql -e 'select hex(b) from test_blob' | tr 'A-F' 'a-f' | tr -d '\n' | cmp - hex
    maria "$1" mysql -e 'drop table test_blob'
    echo "the same bytes"
}

maria_load() {
    seq -f '%.0f	a row that has some text in it, as rows have' 500000 >rows.tsv
    maria "$1" -e 'drop database if exists compat; create database compat; create table compat.t (i int primary key, text varchar(80))'
    maria "$1" compat -e "load data local infile '$PWD/rows.tsv' into table t; select count(*), sum(i) from t"
    mariadb-dump --no-defaults -h 127.0.0.1 -P "$1" -u root --protocol=tcp --skip-dump-date compat >first.sql
    maria "$1" -e 'create or replace database again'
    maria "$1" again <first.sql
    mariadb-dump --no-defaults -h 127.0.0.1 -P "$1" -u root --protocol=tcp --skip-dump-date again | grep -v '^-- Host' >second.sql
    grep -v '^-- Host' first.sql | cmp - second.sql
    maria "$1" -e 'drop database again'
    note "$(($(wc -c <first.sql) / 1000000)) MB"
    echo "500,000 rows, the same dump"
}

maria_slap() {
    timeout 120 mariadb-slap --no-defaults -h 127.0.0.1 -P "$1" -u root --protocol=tcp --concurrency=16 --number-of-queries=8000 --auto-generate-sql --auto-generate-sql-load-type=mixed >log
    note "$(sed -n 's/.*Average number of seconds to run all queries: \(.*\) seconds/\1 s/p' log)"
    sed -n 's/.*\(Average number of queries per client\)/\1/p' log
}

maria_connections() {
    local i
    for i in {1..500}; do maria "$1" -e "select $i"; done | sha256sum
    echo "500 answers"
}
