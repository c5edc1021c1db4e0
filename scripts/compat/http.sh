# shellcheck shell=bash disable=SC2154
# HTTP: two nginx with the same files behind lb; curl, wrk, h2load; HTTP/1.1, HTTP/2 without and with TLS.

group_http() {
    needs http nginx:nginx-light curl:curl openssl:openssl || return 0
    local plain=() h2c=() tls=() which a b c big=1024
    if [[ $quick == yes ]]; then big=64; fi
    mkdir -p "$work/www/up"
    head -c "$((big * 1024 * 1024))" /dev/urandom >"$work/www/big"
    head -c 10000 "$work/www/big" >"$work/www/small"
    seq 1 200000 >"$work/www/text.txt"
    (cd "$work/www" && sha256sum big >"$work/big.sum")
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/openssl.log"
    chmod -R a+rwX "$work/www"
    for which in 1 2; do
        free_port a
        free_port b
        free_port c
        nginx_conf "$which" "$a" "$b" "$c" >"$work/nginx-$which.conf"
        mkdir -p "$work/nginx-$which"
        start "nginx-$which" "$a" nginx -c "$work/nginx-$which.conf" -p "$work/nginx-$which" -e "$work/nginx-$which/error.log"
        plain+=("$a")
        h2c+=("$b")
        tls+=("$c")
    done
    balance http "${plain[@]}"
    both HTTP/1.1 "100 requests on one connection" http_keep_alive
    both HTTP/1.1 "download of $big MiB" http_download
    both HTTP/1.1 "upload of $big MiB, PUT" http_upload
    both HTTP/1.1 "ranges: a middle, the end, two at once, one that isn't" http_ranges
    both HTTP/1.1 "chunked: upload with, download gzipped" http_chunked
    both HTTP/1.1 "Expect: 100-continue: taken, and refused (413)" http_continue
    both HTTP/1.0 "Connection: close, the end of the answer is the FIN" http_close
    if [[ $quick == yes ]]; then return 0; fi
    both HTTP/1.1 "a client that takes 20 MB/s of 100 MB" http_slow
    both HTTP/1.1 "a client that goes in the middle, 50 times; then one that stays" http_abort
    if has wrk; then both HTTP/1.1 "wrk, 64 connections, 5 s" http_wrk; else skipped HTTP/1.1 wrk "not installed: wrk"; fi
    if has h2load; then both HTTP/1.1 "h2load, 32 connections, 50,000 requests" http_h2load http --h1; fi
    balance http2 "${h2c[@]}"
    both HTTP/2 "prior knowledge: 20 connections, $big MiB both ways" http_2 http --http2-prior-knowledge
    if has h2load; then
        both HTTP/2 "h2load, 16 connections of 32 streams, 100,000 requests" http_h2load http
    else
        skipped HTTP/2 h2load "not installed: h2load (nghttp2-client)"
    fi
    balance https "${tls[@]}"
    both "HTTP/2 in TLS" "20 parallel streams, $big MiB both ways; lb sees only TLS" http_2 https --http2
    both "HTTP/1.1 in TLS" "download, Connection: close" http_tls_close
}

nginx_conf() {
    cat <<CONF
daemon off;
master_process off;
$(if ((EUID == 0)); then echo 'user root;'; fi)
pid $work/nginx-$1/pid;
events { worker_connections 4096; }
http {
    access_log off;
    client_max_body_size 2g;
    keepalive_requests 10000000;
    sendfile on;
    client_body_temp_path $work/nginx-$1/body;
    proxy_temp_path $work/nginx-$1/proxy;
    fastcgi_temp_path $work/nginx-$1/fastcgi;
    uwsgi_temp_path $work/nginx-$1/uwsgi;
    scgi_temp_path $work/nginx-$1/scgi;
    types { text/plain txt; }
    gzip on;
    gzip_types text/plain;
    server {
        listen 127.0.0.1:$2;
        listen 127.0.0.1:$3 http2;
        listen 127.0.0.1:$4 ssl http2;
        ssl_certificate $work/cert.pem;
        ssl_certificate_key $work/key.pem;
        root $work/www;
        location /up/ { dav_methods PUT DELETE; }
        location /little/ { dav_methods PUT; client_max_body_size 1k; }
    }
}
CONF
}

http_keep_alive() {
    local i urls=()
    for ((i = 0; i < 100; i++)); do urls+=("http://127.0.0.1:$1/small" -o "got$i"); done
    curl -sS --fail --max-time 60 -w '%{http_code} %{num_connects}\n' "${urls[@]}" | awk '{ codes[$1]++; opened += $2 } END { for (code in codes) print code, codes[code]; print opened " connection" }'
    cat got* | sha256sum
    echo "100 answers, one connection"
}

http_download() {
    curl -sS --fail --max-time 120 "http://127.0.0.1:$1/big" -w '%{stderr}%{speed_download}' 2>speed | sha256sum | cmp -n 64 - "$work/big.sum"
    note "$(awk '{ printf "%.2f GB/s", $1 / 1e9 }' speed)"
    echo "the same bytes"
}

http_upload() {
    local code
    code=$(curl -sS --fail --max-time 120 -T "$work/www/big" "http://127.0.0.1:$1/up/big" -w '%{http_code}')
    cmp "$work/www/up/big" "$work/www/big"
    rm "$work/www/up/big"
    echo "$code, the same bytes"
}

http_ranges() {
    curl -sS --fail -r 1000-1999 "http://127.0.0.1:$1/small" | sha256sum
    curl -sS --fail -r -5 "http://127.0.0.1:$1/small" | sha256sum
    curl -sS --fail -r 0-9,100-109 "http://127.0.0.1:$1/small" -o /dev/null -w '%{http_code}\n'
    curl -sS -r 20000- "http://127.0.0.1:$1/small" -o /dev/null -w '%{http_code}\n'
    curl -sS --fail -r 10000000- "http://127.0.0.1:$1/big" | sha256sum
    echo "206, 206, 206, 416, 206"
}

http_chunked() {
    head -c 30000000 "$work/www/big" | curl -sS --fail --max-time 60 -H 'Transfer-Encoding: chunked' -T - "http://127.0.0.1:$1/up/chunked" -w '%{http_code}\n'
    head -c 30000000 "$work/www/big" | cmp - "$work/www/up/chunked"
    rm "$work/www/up/chunked"
    curl -sS --fail --compressed -D head "http://127.0.0.1:$1/text.txt" | cmp - "$work/www/text.txt"
    grep -iE '^(transfer|content)-encoding' head | tr -d '\r'
    echo "the same bytes both ways"
}

http_continue() {
    curl -sSv --max-time 30 --expect100-timeout 20 -H 'Expect: 100-continue' -T "$work/www/small" "http://127.0.0.1:$1/up/small" 2>&1 | grep -aE '^< HTTP' | tr -d '\r'
    curl -sSv --max-time 30 --expect100-timeout 20 -H 'Expect: 100-continue' -T "$work/www/small" "http://127.0.0.1:$1/little/small" -o /dev/null 2>&1 | grep -aE '^< HTTP' | tr -d '\r'
    rm "$work/www/up/small"
    echo "100 then 201; 413"
}

http_close() {
    curl -sS --fail --http1.0 -H 'Connection: close' "http://127.0.0.1:$1/big" --max-time 60 | sha256sum | cmp -n 64 - "$work/big.sum"
    echo "the same bytes"
}

http_slow() {
    curl -sS --fail --max-time 60 --limit-rate 20M -r 0-99999999 "http://127.0.0.1:$1/big" | sha256sum
    echo "the same bytes"
}

http_abort() {
    local i
    for i in {1..50}; do curl -sS "http://127.0.0.1:$1/big" 2>/dev/null | head -c $((i * 100000)) >/dev/null || true; done
    curl -sS --fail --max-time 60 "http://127.0.0.1:$1/big" | sha256sum | cmp -n 64 - "$work/big.sum"
    echo "the one that stays has all"
}

http_wrk() {
    wrk -t1 -c64 -d5s "http://127.0.0.1:$1/small" >log
    note "$(awk '/Requests.sec/ { printf "%.0f/s", $2 }' log)"
    ! grep -E 'Socket errors|Non-2xx' log
    echo "no error"
}

http_h2load() {
    local port=$1 scheme=$2
    shift 2
    local count=100000 shape=(-c 16 -m 32)
    if [[ " $* " == *" --h1 "* ]]; then count=50000 shape=(-c 32); fi
    timeout 120 h2load -n "$count" "${shape[@]}" "$@" "$scheme://127.0.0.1:$port/small" >log
    note "$(sed -n 's/^finished in [^,]*, \([0-9]*\)[^,]*req.s.*/\1\/s/p' log)"
    sed -n 's/^requests: .*, \([0-9]* succeeded, [0-9]* failed, [0-9]* errored, [0-9]* timeout\)/\1/p' log
}

http_2() {
    local port=$1 scheme=$2 version=$3 i urls=()
    for i in {1..20}; do urls+=("$scheme://127.0.0.1:$port/text.txt" -o "got$i"); done
    if [[ $version == --http2 ]]; then
        curl -skS --fail "$version" --parallel --parallel-max 20 --max-time 60 -w '%{http_version} %{http_code}\n' "${urls[@]}" | sort | uniq -c
    else
        # curl 7.88 can't use such a connection twice: it tells an error in HTTP/2's framing, without lb as well.
        for i in {1..20}; do curl -sS --fail "$version" --max-time 60 -w '%{http_version} %{http_code}\n' "$scheme://127.0.0.1:$port/text.txt" -o "got$i"; done | sort | uniq -c
    fi
    for i in {1..20}; do cmp "got$i" "$work/www/text.txt"; done
    curl -skS --fail "$version" --max-time 120 "$scheme://127.0.0.1:$port/big" | sha256sum | cmp -n 64 - "$work/big.sum"
    curl -skS --fail "$version" --max-time 120 -T "$work/www/big" "$scheme://127.0.0.1:$port/up/big2"
    cmp "$work/www/up/big2" "$work/www/big"
    rm "$work/www/up/big2"
    echo "HTTP/2, the same bytes"
}

http_tls_close() {
    curl -skS --fail --http1.1 -H 'Connection: close' "https://127.0.0.1:$1/big" --max-time 60 | sha256sum | cmp -n 64 - "$work/big.sum"
    echo "the same bytes"
}
