# shellcheck shell=bash disable=SC2154
# What --install gets: Debian's packages (as root), the sources that hold redis's and PostgreSQL's own tests, and a Python
# environment for the websocket cases. The last two need no root and lie in target/compat.

install_tools() {
    local packages=() pair group source=no
    local -A wanted=(
        [http]="nginx:nginx-light curl:curl wrk:wrk h2load:nghttp2-client openssl:openssl"
        [redis]="redis-server:redis-server redis-cli:redis-tools tclsh:tcl dpkg-source:dpkg-dev"
        [postgres]="postgres:postgresql-15 /usr/lib/postgresql/15/lib/refint.so:postgresql-15 gcc:gcc dpkg-source:dpkg-dev bzip2:bzip2 setpriv:util-linux"
        [websocket]="python3:python3-venv"
        [iperf3]="iperf3:iperf3"
        [ssh]="sshd:openssh-server ssh:openssh-client rsync:rsync"
        [sip]="sipp:sip-tester"
        [mariadb]="mariadbd:mariadb-server"
        [mqtt]="mosquitto:mosquitto mosquitto_pub:mosquitto-clients"
        [dns]="dnsmasq:dnsmasq-base dig:bind9-dnsutils"
        [mail]="python3:python3"
        [tcp]="python3:python3"
    )
    for group in "$@"; do
        for pair in ${wanted[$group]}; do
            if [[ $quick == yes && $pair =~ ^(wrk|h2load|tclsh|gcc|dpkg-source|postgres|/usr/lib) ]]; then continue; fi
            has "${pair%%:*}" || packages+=("${pair##*:}")
        done
        if [[ $group == redis || $group == postgres ]]; then source=yes; fi
    done
    if ((${#packages[@]} > 0)); then install_packages "${packages[@]}"; fi
    if [[ $quick == yes ]]; then return 0; fi
    if [[ $source == yes ]]; then install_sources; fi
    if [[ " $* " == *" websocket "* && ! -x target/compat/venv/bin/kosoku ]]; then
        echo "installing kosoku and websockets into target/compat/venv"
        python3 -m venv target/compat/venv
        target/compat/venv/bin/pip install --quiet kosoku==0.1.0 websockets==17.4 || echo "skipped: kosoku and websockets: pip failed" >&2
    fi
}

install_packages() {
    local policy=/usr/sbin/policy-rc.d made=no package
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        echo "skipped: installing $*: needs Debian's apt-get, as root" >&2
        return 0
    fi
    echo "installing $*"
    # Debian starts what it installs; nothing of that is wanted here.
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        made=yes
    fi
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$@"; } >/dev/null; then
        echo "skipped: installing $*: apt-get failed" >&2
    fi
    if [[ $made == yes ]]; then rm -f $policy; fi
    # Nor at the next boot.
    if ! command -v systemctl >/dev/null; then return 0; fi
    for package in "$@"; do
        case $package in
            redis-server | mosquitto) systemctl disable --quiet "$package.service" || true ;;
            nginx-light) systemctl disable --quiet nginx.service || true ;;
            postgresql-15) systemctl disable --quiet postgresql.service || true ;;
            openssh-server) systemctl disable --quiet ssh.service || true ;;
            mariadb-server) systemctl disable --quiet mariadb.service || true ;;
        esac
    done
}

# Debian's sources by apt, with lists of its own, so that the system's apt stays as it is.
install_sources() {
    local folder=$PWD/target/compat/apt options name version file
    options=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/lists" -o APT::Sandbox::User=root)
    if [[ -d target/compat/redis && -d target/compat/postgresql && -d target/compat/postgresql-headers ]]; then return 0; fi
    echo "getting redis's and PostgreSQL's sources, for their tests, into target/compat"
    mkdir -p "$folder/lists/partial"
    local release
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    for name in "debian $release" "debian $release-updates" "debian-security $release-security"; do
        echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/$name main"
    done >"$folder/sources.list"
    apt-get "${options[@]}" update -qq || return 0
    for name in redis postgresql-15; do
        local target=target/compat/${name%-15}
        if [[ -d $target ]]; then continue; fi
        # Newest first; what is told may be gone from the mirror already.
        for version in $(apt-cache "${options[@]}" showsrc "$name" | sed -n 's/^Version: //p' | sort -rV); do
            if (cd "$folder" && apt-get "${options[@]}" source -qq --only-source "$name=$version") >/dev/null 2>&1; then break; fi
        done
        for file in "$folder/$name"-*/; do
            if [[ -d $file ]]; then mv "$file" "$target"; fi
        done
        [[ -d $target ]] || echo "skipped: the source of $name: apt-get source failed" >&2
    done
    # Headers for regress.so, taken out of the package: it would bring a whole compiler along.
    if [[ ! -d target/compat/postgresql-headers ]]; then
        if (cd "$folder" && apt-get -o APT::Sandbox::User=root download -qq postgresql-server-dev-15 && dpkg-deb -x postgresql-server-dev-15_*.deb headers); then
            mv "$folder/headers" target/compat/postgresql-headers
        else
            echo "skipped: the headers of PostgreSQL: apt-get download postgresql-server-dev-15 failed" >&2
        fi
    fi
}
