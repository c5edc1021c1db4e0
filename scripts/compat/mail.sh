# shellcheck shell=bash disable=SC2154
# SMTP, where the server speaks first: Python's smtplib against a small server.

group_mail() {
    needs SMTP python3:python3 || return 0
    local port
    free_port port
    start mail "$port" python3 scripts/compat/mail_server.py "$port"
    balance mail "$port"
    both SMTP "the server's banner, 100 messages in 10 connections, one of 50 MB" mail_send
    both SMTP "a server that says goodbye first (421, then FIN)" mail_goodbye
}

mail_send() {
    timeout 120 python3 "$parts/mail_client.py" "$1"
}

mail_goodbye() {
    timeout 20 python3 "$parts/mail_client.py" "$1" goodbye
}
