# shellcheck shell=bash disable=SC2029,SC2154
# ssh with an sshd, keys and a configuration of its own: rsync, scp, pipes, forwarded ports.

group_ssh() {
    needs ssh sshd:openssh-server ssh:openssh-client scp:openssh-client rsync:rsync python3:python3 || return 0
    local port
    mkdir -p "$work/ssh"
    chmod 700 "$work/ssh"
    # Where sshd as root wants to jail what isn't logged in yet; Debian's unit makes it.
    if ((EUID == 0)); then mkdir -p /run/sshd; fi
    ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/host"
    ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/user"
    cp "$work/ssh/user.pub" "$work/ssh/authorized"
    free_port port
    printf '%s\n' "ListenAddress 127.0.0.1:$port" "HostKey $work/ssh/host" "AuthorizedKeysFile $work/ssh/authorized" \
        "PidFile $work/ssh/pid" "UsePAM no" "StrictModes no" "PasswordAuthentication no" "PermitRootLogin prohibit-password" \
        "MaxStartups 100" "Subsystem sftp internal-sftp" >"$work/ssh/sshd_config"
    start sshd "$port" "$(command -v sshd)" -D -e -f "$work/ssh/sshd_config"
    printf '%s\n' "Host *" "HostName 127.0.0.1" "IdentityFile $work/ssh/user" "IdentitiesOnly yes" "StrictHostKeyChecking accept-new" \
        "UserKnownHostsFile $work/ssh/known" "LogLevel ERROR" "ExitOnForwardFailure yes" "HostKeyAlias compat" "BatchMode yes" >"$work/ssh/config"
    mkdir "$work/tree"
    python3 "$parts/make_tree.py" "$work/tree"
    balance ssh "$port"
    both ssh "a command: its output, its standard error, its exit status" ssh_command
    both ssh "200 MB into a command by a pipe, and back" ssh_pipe
    both ssh "rsync -a of 10,000 small files and one of 1 GiB; then again, with one byte changed" ssh_rsync
    both ssh "scp of 1 GiB there and back" ssh_scp
    both ssh "a forwarded port (-L) and a remote one (-R), 100 MB each" ssh_forward
    both ssh "20 sessions in one connection (ControlMaster)" ssh_sessions
}

ssh_command() {
    local code=0
    ssh -F "$work/ssh/config" -p "$1" there 'echo out; echo err >&2; exit 42' 2>err || code=$?
    cat err
    echo "exit status $code"
}

ssh_pipe() {
    head -c 200000000 "$work/tree/big" | ssh -F "$work/ssh/config" -p "$1" there 'cat' | sha256sum
    head -c 200000000 "$work/tree/big" | ssh -F "$work/ssh/config" -p "$1" there 'sha256sum' >sum
    [[ $(<sum) == "$(head -c 200000000 "$work/tree/big" | sha256sum)" ]]
    echo "the same bytes"
}

ssh_rsync() {
    local shell="ssh -F $work/ssh/config -p $1"
    rsync -a -e "$shell" "$work/tree/" "there:$PWD/copy/"
    tree_sum "$work/tree" >first
    tree_sum copy | cmp - first
    printf x | dd of=copy/big bs=1 seek=500000000 conv=notrunc status=none
    rsync -a -c --no-whole-file -e "$shell" "$work/tree/" "there:$PWD/copy/"
    tree_sum copy | cmp - first
    # The other way: the server sends.
    rsync -a -e "$shell" --exclude big "there:$work/tree/" back/
    [[ $(find back -type f | wc -l) == 10000 ]]
    echo "10,001 files, the same checksums"
}

tree_sum() {
    (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
}

ssh_scp() {
    scp -q -F "$work/ssh/config" -P "$1" "$work/tree/big" "there:$PWD/there"
    scp -q -F "$work/ssh/config" -P "$1" "there:$PWD/there" back
    cmp back "$work/tree/big"
    echo "the same bytes"
}

ssh_forward() {
    # Ports of its own, beside those of the harness: it is another shell.
    local here=$((30000 + $1 % 1000)) there=$((31000 + $1 % 1000)) web=$((32000 + $1 % 700)) pids=()
    python3 -m http.server --bind 127.0.0.1 --directory "$work/tree" "$web" >/dev/null 2>&1 &
    pids+=("$!")
    ssh -F "$work/ssh/config" -p "$1" -N -L "127.0.0.1:$here:127.0.0.1:$web" -R "127.0.0.1:$there:127.0.0.1:$web" there &
    pids+=("$!")
    # shellcheck disable=SC2064
    trap "kill ${pids[*]}" EXIT
    listens "$here" && listens "$there"
    python3 "$parts/fetch.py" "$here" /big 100000000
    python3 "$parts/fetch.py" "$there" /big 100000000
    echo "the same bytes by both"
}

ssh_sessions() {
    local control=(-F "$work/ssh/config" -p "$1" -o "ControlPath=$PWD/control") i master
    ssh "${control[@]}" -M -N there &
    master=$!
    until [[ -S control ]]; do sleep 0.05; done
    local sessions=()
    for i in {1..9}; do
        ssh "${control[@]}" there "head -c $((i * 1000000)) $work/tree/big | sha256sum" >"session$i" &
        sessions+=("$!")
    done
    wait "${sessions[@]}"
    for i in {10..20}; do ssh "${control[@]}" there "echo $i" >"session$i"; done
    cat session* | sha256sum
    ssh "${control[@]}" -O exit there 2>/dev/null
    wait "$master" || true
    echo "20 sessions"
}
