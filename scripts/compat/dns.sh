# shellcheck shell=bash disable=SC2154
# DNS over TCP: dnsmasq and dig.

group_dns() {
    needs DNS dnsmasq:dnsmasq-base dig:bind9-dnsutils || return 0
    local port texts=() i
    free_port port
    for i in {1..200}; do texts+=("--txt-record=big.test,$(printf '%0200d' "$i")"); done
    start dnsmasq "$port" "$(command -v dnsmasq)" --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --port="$port" --listen-address=127.0.0.1 \
        --bind-interfaces --user="$(id -un)" --pid-file="$work/dnsmasq.pid" --address=/one.test/192.0.2.1 --auth-ttl=60 "${texts[@]}"
    balance dns "$port"
    both "DNS over TCP" "an address, a name that isn't, an answer of 40 KB" dns_answers
    both "DNS over TCP" "100 questions in one connection (+keepopen), then 200 connections" dns_many
}

ask() {
    local port=$1
    shift
    dig @127.0.0.1 -p "$port" +tcp +time=10 +tries=1 "$@"
}

dns_answers() {
    ask "$1" +short one.test
    ask "$1" nothing.example | grep -o 'status: [A-Z]*'
    ask "$1" big.test TXT +short | sort | sha256sum
    [[ $(ask "$1" big.test TXT +short | wc -l) == 200 ]]
    echo "answered, refused, 200 records"
}

dns_many() {
    local i names=()
    for i in {1..100}; do names+=("n$i.one.test"); done
    ask "$1" +keepopen +short "${names[@]}" | sort | uniq -c
    for i in {1..200}; do ask "$1" +short "m$i.one.test"; done | sort | uniq -c
    echo "300 answers"
}
