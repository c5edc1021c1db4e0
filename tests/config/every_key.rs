//! Every key of a file, and the value it becomes.

use std::num::NonZeroU32;
use std::time::Duration;

use lb::config::{
    Access, AccessLog, Admin, AdminListen, Backend, Balance, Check, Config, Discovery, DiscoverySource, DnsRecord,
    HashKey, Health, History, Limits, Log, Managed, Prediction, Program, ProxyProtocol, ProxyVersion, RingHash,
    Runtime, Scale, Service, SourceRate, Sticky,
};
use lb::types::HttpUrl;

use super::{address, good};

#[test]
fn every_key_arrives_in_its_value() {
    let ms = Duration::from_millis;
    let managed = Managed {
        program: Program {
            command: ["./server", "--listen", "127.0.0.1:{port}"].map(str::to_owned).to_vec(),
            env: [("NAME", "{name}"), ("A B", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            working_directory: Some("/srv".into()),
            user: Some("nobody".to_owned()),
        },
        ports: 9101..=9199,
        replicas: 3,
        restart_delay: ms(500),
        replace_after: None,
        start_timeout: ms(60_000),
        stop_timeout: ms(3_000),
        scale: Some(Scale {
            min: 2,
            max: 9,
            target_connections: 150,
            cooldown: Duration::from_secs(30),
            prediction: Some(Prediction {
                ahead: Duration::from_mins(3),
                season: Duration::from_hours(12),
            }),
        }),
    };
    let service = Service {
        name: "every.key_of-a-service".to_owned(),
        listen: ["0.0.0.0:9000", "[::1]:9000", "127.0.0.1:0", "127.0.0.1:0"]
            .map(address)
            .to_vec(),
        balance: Balance::Ring {
            hash: RingHash::Quadratic {
                slots: 1_024,
                virtual_nodes: 7,
            },
            load_thousandths: Some(2_500),
        },
        hash_key: HashKey::SourceAddress,
        sticky: Some(Sticky {
            ttl: Duration::from_secs(3_600),
            size: 5_000,
        }),
        proxy_protocol: ProxyProtocol {
            trusted: Some(
                ["10.0.0.0/8", "::1/128"]
                    .map(|network| network.parse().unwrap())
                    .to_vec(),
            ),
            send: Some(ProxyVersion::V2),
        },
        managed: Some(managed),
        connections_max: Some(1_000),
        connect_timeout: ms(1_500),
        connect_retries: 0,
        hedge_after: None,
        idle_timeout: ms(7 * 24 * 3_600_000),
        half_close_timeout: ms(90 * 60_000),
        peer_timeout: None,
        access: Access {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            deny: vec!["10.1.0.0/16".parse().unwrap()],
        },
        limits: Limits {
            per_source: NonZeroU32::new(100),
            rate_per_source: Some(SourceRate {
                every: ms(100),
                burst: NonZeroU32::new(30).unwrap(),
            }),
            backlog: 128,
            max_session: Some(Duration::from_hours(8)),
        },
        health: Health {
            check: Check::Http {
                path: "/health?deep=1".to_owned(),
                expect_status: 204,
            },
            interval: ms(500),
            timeout: ms(2_000),
            rise: 1,
            fall: 1_000,
            port: Some(9101),
            slow_start: Some(Duration::from_secs(30)),
        },
        discovery: Some(Discovery {
            source: DiscoverySource::Dns {
                name: "db.example.org.".to_owned(),
                record: DnsRecord::A { port: 5432 },
                server: Some(address("127.0.0.1:5353")),
                interval_min: ms(2_000),
                interval_max: ms(60_000),
            },
            timeout: ms(3_000),
            backends_min: 2,
            backends_max: 20,
            changes_per_second: 5,
            allow: Some(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]),
        }),
        backends: vec![
            Backend {
                name: "a".to_owned(),
                address: address("[2001:db8::1]:80"),
                weight: 0,
                connections_max: Some(10),
                backup: true,
                metrics: Some(HttpUrl {
                    address: address("[2001:db8::1]:9101"),
                    path: "/metrics?all=1".into(),
                }),
            },
            Backend {
                name: "b".to_owned(),
                address: address("10.0.0.1:80"),
                weight: 256,
                connections_max: None,
                backup: false,
                metrics: None,
            },
        ],
    };
    let runtime = Runtime {
        workers: Some(4),
        connections_max: Some(100_000),
        memory_bytes_max: Some(2 << 30),
        drain_timeout: Duration::ZERO,
    };
    let log = Log {
        level: log::LevelFilter::Debug,
        access: AccessLog::File("/var/log/lb/access.log".into()),
    };
    let admin = Admin {
        listen: AdminListen::Tcp(address("10.0.0.1:8443")),
        token_file: Some("/etc/lb/tokens".into()),
        hosts: vec!["lb.example.com".to_owned()],
    };
    let history = History {
        directory: "/var/lib/lb".into(),
        keep: Duration::from_hours(12),
        bytes_max: 100 << 20,
    };
    assert_eq!(
        good("every_key.toml"),
        Config {
            runtime,
            log,
            admin,
            history: Some(history),
            services: vec![service]
        }
    );
}
