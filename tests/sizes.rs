//! Requests and replies of unequal size: `client` and `tcp_server`, `lb` between them.

use std::time::Duration;

use super::common::{Backend, Balancer, Config, Peer, at_once, tcp_server};
use super::programs::{client, row};

#[test]
fn one_way_traffic_passes_the_balancer_with_every_byte_checked() {
    for (request, reply) in [("4MiB", "64"), ("64", "4MiB"), ("1000", "999"), ("999", "1000")] {
        let (_server, address) = tcp_server(&["0", "--request-size", request, "--reply-size", reply]);
        let lb = Balancer::start(&Config::with_backends(&[("a", address)]));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("result.json");
        let flags = format!(
            "--conns 5 --requests 4 --size {request} --reply-size {reply} --json {}",
            file.display()
        );
        let mut client = client(lb.address(), &flags);
        assert_eq!(client.exit_code(), Some(0), "{request}, {reply}: {}", client.story());
        for name in ["bytes/s sent", "bytes/s received"] {
            row(&client, name);
        }
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let size = |name: &str| json["parameters"][name].as_u64().unwrap();
        assert_eq!(json["bytes_sent"], 20 * size("size_bytes"));
        assert_eq!(json["bytes_received"], 20 * size("reply_size_bytes"));
        lb.finish();
    }
}

#[test]
fn the_client_finds_one_wrong_bit_in_a_fold() {
    for wrong in [0, 1] {
        let liar = Backend::serve(move |peer| {
            let request = peer.take(1000);
            let mut reply = [0; 10];
            for (place, byte) in request.iter().enumerate() {
                reply[place % 10] ^= byte;
            }
            reply[9] ^= wrong;
            peer.send(&reply).wait_for_end();
        });
        let mut client = client(liar.address(), "--size 1000 --reply-size 10 --conns 3");
        assert_eq!(client.exit_code(), Some(i32::from(wrong)), "{}", client.story());
    }
}

#[test]
fn connections_that_never_read_do_not_fill_the_servers_memory() {
    const CONNECTIONS: usize = 10;
    for (request, reply) in [("64KiB", "1GiB"), ("64KiB", "65535")] {
        let (server, address) = tcp_server(&["0", "--threads", "1", "--request-size", request, "--reply-size", reply]);
        let peers = at_once(CONNECTIONS, |number| {
            let peer = Peer::connect(address);
            let sent = peer.send_until_stuck(number as u64, Duration::from_millis(300));
            assert!(sent >= 64 * 1024, "{sent} bytes sent");
            peer
        });
        assert_eq!(peers.len(), CONNECTIONS);
        // Each: 64 KiB of a message and 64 KiB read beyond it, in buffers that grow by doubling. And the program itself.
        let most = 256 * CONNECTIONS as u64 + 16 * 1024;
        let resident = server.process().resident_kib();
        assert!(resident < most, "{resident} KiB, {request} {reply}");
    }
}
