#!/usr/bin/env bash
# Real protocols, each directly and through lb: the same result? Prints a table; exit 0 only if every row that ran is the same.
#
#   scripts/compat.sh                    all that the tools on this machine allow, about half an hour; builds lb first
#   scripts/compat.sh --install          gets the tools and test suites that are missing first: Debian's, as root, and into target/compat
#   scripts/compat.sh --quick            a look at HTTP, redis, PostgreSQL and iperf3, under a minute
#   scripts/compat.sh --only redis,ssh   of: redis postgres http websocket iperf3 ssh sip mariadb mqtt dns mail tcp
#   scripts/compat.sh --lb PATH          this lb, instead of building one
#   scripts/compat.sh --write            puts the table into docs/compatibility.md (with --only: those rows anew, the others as they were)
#   scripts/compat.sh --keep             leaves the temporary folder with all outputs and logs
#
# Whatever it starts is its own: free ports of 127.0.0.1, a temporary folder, stopped by process id at the end.
# The cases are in scripts/compat/, what each proves in docs/compatibility.md.
# shellcheck disable=SC2034 # the harness reads what is set here
set -euo pipefail
cd "$(dirname "$0")/.."

all_groups=(http redis postgres iperf3 websocket ssh sip mariadb mqtt dns mail tcp)
groups=()
quick=no
install=no
write=no
keep=no
lb=
while (($#)); do
    case $1 in
        --quick) quick=yes ;;
        --install) install=yes ;;
        --write) write=yes ;;
        --keep) keep=yes ;;
        --lb | --only)
            if (($# < 2)); then echo "compat.sh: $1 wants a value" >&2; exit 2; fi
            if [[ $1 == --lb ]]; then lb=$2; else IFS=, read -ra groups <<<"$2"; fi
            shift
            ;;
        -h | --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "compat.sh: $1 found; allowed: --quick, --install, --only NAMES, --lb PATH, --write, --keep, --help" >&2; exit 2 ;;
    esac
    shift
done
for group in "${groups[@]}"; do
    if [[ " ${all_groups[*]} " != *" $group "* ]]; then
        echo "compat.sh: --only: $group found; allowed: ${all_groups[*]}" >&2
        exit 2
    fi
done
if ((${#groups[@]} == 0)); then
    if [[ $quick == yes ]]; then groups=(http redis postgres iperf3); else groups=("${all_groups[@]}"); fi
fi
if [[ $quick == yes && $write == yes ]]; then echo "compat.sh: --quick is a look; the page needs the whole: leave one of --quick and --write out" >&2; exit 2; fi

for part in harness install "${all_groups[@]}"; do
    # shellcheck source=/dev/null
    source "scripts/compat/$part.sh"
done

if [[ -z $lb ]]; then
    cargo build --quiet --release --locked --bin lb
    lb=target/release/lb
fi
lb=$(realpath -e -- "$lb")
if [[ $install == yes ]]; then install_tools "${groups[@]}"; fi
begin
# Functions are run in a shell of their own each, with a time limit: they and these are handed on.
export quick work parts downloads
for function in $(compgen -A function); do export -f "${function?}"; done

for group in "${groups[@]}"; do
    group_begin "$group"
    "group_$group"
    group_end
done

summary
