# shellcheck shell=bash disable=SC2154
# MQTT: mosquitto.

group_mqtt() {
    needs MQTT mosquitto:mosquitto mosquitto_pub:mosquitto-clients mosquitto_sub:mosquitto-clients || return 0
    local port
    free_port port
    {
        printf 'listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n' "$port"
        if ((EUID == 0)); then echo "user root"; fi
    } >"$work/mosquitto.conf"
    start mosquitto "$port" "$(command -v mosquitto)" -c "$work/mosquitto.conf"
    balance mqtt "$port"
    both MQTT "10,000 messages of QoS 0, 1 and 2 each, to a subscriber" mqtt_messages
    both MQTT "a message of 64 MB" mqtt_big
    both MQTT "a last will: the client is killed, its subscriber hears of it" mqtt_will
}

# mqtt_hear PORT TOPIC FILE ARGUMENTS…: a subscriber in the background, once it is subscribed.
mqtt_hear() {
    local port=$1 topic=$2 file=$3
    shift 3
    mosquitto_pub -p "$port" -t "$topic" -r -m here
    timeout 60 mosquitto_sub -p "$port" -t "$topic" "$@" >"$file" &
    # The retained message is the first that it hears.
    until [[ -s $file ]]; do sleep 0.02; done
}

# mqtt_heard PORT TOPIC: that message again taken out of the server.
mqtt_heard() {
    wait "$!"
    mosquitto_pub -p "$1" -t "$2" -r -n
}

mqtt_messages() {
    local quality
    for quality in 0 1 2; do
        mqtt_hear "$1" "topic/$quality" "heard$quality" -q "$quality" -C 10001
        seq 10000 | timeout 60 mosquitto_pub -p "$1" -t "topic/$quality" -q "$quality" -l
        mqtt_heard "$1" "topic/$quality"
        sha256sum <"heard$quality"
    done
    echo "30,000 heard, in order"
}

mqtt_big() {
    head -c 64000000 /dev/urandom >message
    mqtt_hear "$1" big heard -q 1 -C 2 -N
    timeout 60 mosquitto_pub -p "$1" -t big -q 1 -f message
    mqtt_heard "$1" big
    tail -c 64000000 heard | cmp - message
    echo "the same bytes"
}

mqtt_will() {
    mqtt_hear "$1" will heard -C 2
    local hearer=$!
    mosquitto_pub -p "$1" -t other -r -m x
    mosquitto_sub -p "$1" -t other --will-topic will --will-payload gone >connected &
    local dying=$!
    until [[ -s connected ]]; do sleep 0.02; done
    kill -9 "$dying"
    wait "$hearer"
    mosquitto_pub -p "$1" -t will -r -n
    cat heard
    echo "heard"
}
