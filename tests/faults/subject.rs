//! Who is put to the test: lb, or HAProxy or nginx in its place, with the same backends, checks and timeouts.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

use super::field::{BACKENDS, Field};
use crate::common::{Balancer, Config, Http, PATIENCE, Process, Program, Signal, children_of, eventually, lb_command};

const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Lb,
    Haproxy,
    Nginx,
}

/// For drills that ask the same of each.
pub(super) const EVERYBODY: &[Subject] = &[Subject::Lb, Subject::Haproxy, Subject::Nginx];
/// For drills of what only lb has.
pub(super) const LB: &[Subject] = &[Subject::Lb];

impl Subject {
    pub(super) fn named(name: &str) -> Self {
        let found = EVERYBODY.iter().find(|subject| subject.name() == name);
        *found.unwrap_or_else(|| panic!("{name}: a subject is lb, haproxy or nginx"))
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lb => "lb",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

/// How the balancer is set up. Times in milliseconds, so that each can be told in its own words.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) backends: usize,
    pub(super) weights: [u32; BACKENDS],
    pub(super) connect_ms: u64,
    pub(super) idle_ms: u64,
    pub(super) half_close_ms: u64,
    pub(super) max_connections: usize,
    pub(super) proxy_protocol: bool,
    /// The rest is lb's alone: lines of its file.
    pub(super) health: String,
    pub(super) service: String,
    pub(super) runtime: String,
    pub(super) log: String,
    pub(super) top: String,
    pub(super) discovery: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            backends: BACKENDS,
            weights: [1; BACKENDS],
            connect_ms: 1000,
            idle_ms: 300_000,
            half_close_ms: 30_000,
            // With splice, more don't fit under HAProxy's budget of 20,000 descriptors.
            max_connections: 7900,
            proxy_protocol: false,
            health: "kind = \"tcp\"\ninterval = \"500ms\"\nfall = 2\nrise = 2".to_owned(),
            service: String::new(),
            runtime: "workers = 2".to_owned(),
            log: String::new(),
            top: String::new(),
            discovery: None,
        }
    }
}

impl Setup {
    /// Asks backends for an answer, which a hung process can't give. The peers keep their plain check: it is the row of the book.
    pub(super) fn expecting() -> Self {
        Self {
            health: "kind = \"expect\"\nsend = \"ping\\n\"\nexpect = \"ping\\n\"\ninterval = \"500ms\"\ntimeout = \"500ms\"\nfall = 2\nrise = 2"
                .to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn lb(&self, field: &Field) -> Config {
        let mut lines = format!(
            "connect_timeout = \"{}ms\"\nidle_timeout = \"{}ms\"\nhalf_close_timeout = \"{}ms\"\n{}",
            self.connect_ms, self.idle_ms, self.half_close_ms, self.service
        );
        if self.proxy_protocol {
            lines += "\n[service.proxy_protocol]\naccept = true\ntrusted = [\"0.0.0.0/0\"]";
        }
        let config = Config::new()
            .runtime(&self.runtime)
            .log(&self.log)
            .admin(&format!("listen = \"127.0.0.1:8000\"\n{}", self.top))
            .listen(&format!("\"{}\"", Field::TARGET))
            .service(&lines)
            .health(&self.health);
        if let Some(discovery) = &self.discovery {
            return config.discovery(discovery);
        }
        (0..self.backends).fold(config, |config, number| {
            let weight = format!("weight = {}", self.weights[number]);
            config.backend(&format!("b{number}"), field.backend(number), &weight)
        })
    }

    fn haproxy(&self, field: &Field, folder: &Path) -> String {
        let mut text = format!(
            "global\n    nbthread 2\n    maxconn {max}\n    stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners\n\
             defaults\n    mode tcp\n    option splice-auto\n    option redispatch\n    retries 3\n    timeout connect {connect}ms\n    \
             timeout client {idle}ms\n    timeout server {idle}ms\n    timeout client-fin {half}ms\n    timeout server-fin {half}ms\n\
             listen echo\n    bind {target}{proxy} backlog 4096\n    balance roundrobin\n",
            max = self.max_connections,
            folder = folder.display(),
            connect = self.connect_ms,
            idle = self.idle_ms,
            half = self.half_close_ms,
            target = Field::TARGET,
            proxy = if self.proxy_protocol { " accept-proxy" } else { "" },
        );
        for number in 0..self.backends {
            let (address, weight) = (field.backend(number), self.weights[number]);
            writeln!(
                text,
                "    server b{number} {address} weight {weight} check inter 500ms fall 2 rise 2"
            )
            .unwrap();
        }
        text
    }

    fn nginx(&self, field: &Field, folder: &Path) -> String {
        let servers = (0..self.backends).fold(String::new(), |text, number| {
            let (address, weight) = (field.backend(number), self.weights[number]);
            text + &format!("server {address} weight={weight} max_fails=1 fail_timeout=5s;\n")
        });
        format!(
            "load_module {NGINX_STREAM};\nuser root;\nworker_processes 2;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\ndaemon off;\n\
             events {{ worker_connections 19500; }}\nstream {{\nupstream echo {{\n{servers}}}\nserver {{\nlisten {target}{proxy} backlog=4096;\n\
             proxy_half_close on;\nproxy_connect_timeout {connect}ms;\nproxy_timeout {idle}ms;\nproxy_pass echo;\n}}\n}}\n",
            folder = folder.display(),
            target = Field::TARGET,
            proxy = if self.proxy_protocol { " proxy_protocol" } else { "" },
            connect = self.connect_ms,
            idle = self.idle_ms,
        )
    }

    /// With the time after which a peer that acknowledges nothing is gone, where that can be said; the peers go by the kernel's own.
    pub(super) fn bounded(mut self, field: &Field, subject: Subject, seconds: usize) -> Option<Self> {
        self.service += &format!("peer_timeout = \"{seconds}s\"\n");
        (subject != Subject::Lb || self.is_understood(field)).then_some(self)
    }

    /// Whether this build of lb takes this file: drills of what is being built say so instead of failing.
    pub(super) fn is_understood(&self, field: &Field) -> bool {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lb.toml"), self.lb(field).text()).unwrap();
        let mut check = lb_command(folder.path());
        check.arg("check").stdout(Stdio::null()).stderr(Stdio::null());
        check.status().unwrap().success()
    }
}

enum Who {
    Lb(Box<Balancer>),
    Peer(Program),
}

/// A balancer that runs.
pub(super) struct Standing<'f> {
    pub(super) field: &'f Field,
    pub(super) subject: Subject,
    folder: TempDir,
    who: Option<Who>,
    /// Descriptors, pipes among them, and resident memory, when it was ready.
    pub(super) before: Footprint,
}

/// What it holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Footprint {
    pub(super) fds: usize,
    pub(super) pipes: usize,
    pub(super) resident_kib: u64,
}

impl<'f> Standing<'f> {
    pub(super) fn start(field: &'f Field, subject: Subject, setup: &Setup) -> Self {
        Self::start_with(field, subject, setup, |command| command)
    }

    /// `change` may put another program before it.
    pub(super) fn start_with(
        field: &'f Field,
        subject: Subject,
        setup: &Setup,
        change: impl FnOnce(Command) -> Command + Send,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let who = field.balancer.within(|| match subject {
            Subject::Lb => Who::Lb(Box::new(Balancer::start_with(&setup.lb(field), change))),
            Subject::Haproxy | Subject::Nginx => {
                write_peer(subject, setup, field, folder.path());
                Who::Peer(Program::captured(change(peer_command(subject, folder.path()))))
            }
        });
        let mut standing = Self {
            field,
            subject,
            folder,
            who: Some(who),
            before: Footprint::default(),
        };
        if subject != Subject::Lb {
            field.balancer.within(|| {
                eventually("the balancer listens", || {
                    std::net::TcpStream::connect(Field::TARGET).ok()
                });
            });
            eventually("its workers are there", || {
                (standing.processes().len() >= 2).then_some(())
            });
        }
        standing.sockets_left();
        standing.before = standing.footprint();
        standing
    }

    fn who(&self) -> &Who {
        self.who.as_ref().expect("it runs until it is finished")
    }

    pub(super) fn program(&self) -> &Program {
        match self.who() {
            Who::Lb(lb) => lb,
            Who::Peer(program) => program,
        }
    }

    pub(super) fn lb(&self) -> &Balancer {
        match self.who() {
            Who::Lb(lb) => lb,
            Who::Peer(_) => panic!("not lb"),
        }
    }

    /// The process and those it has made.
    pub(super) fn processes(&self) -> Vec<Process> {
        let main = self.program().process();
        let children = children_of(main.0).into_iter().map(|child| Process(child.pid));
        std::iter::once(main).chain(children).collect()
    }

    pub(super) fn footprint(&self) -> Footprint {
        self.processes()
            .into_iter()
            .fold(Footprint::default(), |sum, process| Footprint {
                fds: sum.fds + process.fds(),
                pipes: sum.pipes + process.pipes(),
                resident_kib: sum.resident_kib + process.resident_kib(),
            })
    }

    /// Share of one processor that it uses while `span` passes, in percent.
    pub(super) fn cpu_percent(&self, span: Duration) -> f64 {
        let used = || self.processes().into_iter().map(Process::cpu_exact).sum::<Duration>();
        let before = used();
        crate::common::pass(span);
        used().saturating_sub(before).as_secs_f64() / span.as_secs_f64() * 100.0
    }

    /// Asks lb's admin port, where it is.
    pub(super) fn ask<T: Send>(&self, question: impl FnOnce(&Http) -> T + Send) -> T {
        let http = self.lb().admin();
        self.field.balancer.within(|| question(&http))
    }

    /// Sockets of the balancer that are connected: of the namespace, those that a process has.
    pub(super) fn sockets(&self) -> usize {
        self.field.balancer.within(|| {
            let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
            let lines = table
                .lines()
                .skip(1)
                .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
            lines.filter(|fields| fields[3] != "0A" && fields[9] != "0").count()
        })
    }

    /// Waits until there is none: those of checks come and go. How many are left when nobody's patience is.
    pub(super) fn sockets_left(&self) -> usize {
        let until = Instant::now() + PATIENCE * if self.subject == Subject::Lb { 1 } else { 3 };
        loop {
            let left = self.sockets();
            if left == 0 || Instant::now() > until {
                return left;
            }
            crate::common::pass(Duration::from_millis(5));
        }
    }

    /// Puts another setup in force; whether it was taken.
    pub(super) fn reload(&self, setup: &Setup) {
        match self.who() {
            Who::Lb(lb) => {
                let config = setup.lb(self.field);
                lb.write(&config);
                self.ask(|http| {
                    let answer = http.ask("POST", "/api/v1/reload", &[], "");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                });
            }
            Who::Peer(program) => {
                write_peer(self.subject, setup, self.field, self.folder.path());
                program.signal(if self.subject == Subject::Haproxy {
                    Signal::USR2
                } else {
                    Signal::HUP
                });
            }
        }
    }

    /// Tells it to finish: no new connection, the old ones to their end.
    pub(super) fn drain(&self) {
        self.program().signal(match self.subject {
            Subject::Lb => Signal::TERM,
            Subject::Haproxy => Signal::USR1,
            Subject::Nginx => Signal::QUIT,
        });
    }

    pub(super) const fn program_mut(&mut self) -> &mut Program {
        match self.who.as_mut().expect("it runs until it is finished") {
            Who::Lb(lb) => lb.program_mut(),
            Who::Peer(program) => program,
        }
    }

    /// `kill -9`, all of it; back when it is gone, and not a moment later: somebody may start it again at once.
    pub(super) fn kill(&mut self) {
        // The number of one that has ended may be somebody else's by now.
        if !self.program_mut().has_ended() {
            let processes = self.processes();
            for process in processes.iter().rev() {
                let pid = Pid::from_raw(i32::try_from(process.0).unwrap()).unwrap();
                kill_process(pid, Signal::KILL).ok(); // a child may have gone by itself
            }
            while !self.program_mut().has_ended() || processes.iter().any(|process| process.is_alive()) {
                crate::common::pass(Duration::from_micros(200));
            }
        }
        self.forget();
    }

    /// For an end that a drill has looked at itself.
    pub(super) fn forget(&mut self) {
        if let Some(Who::Lb(lb)) = self.who.take() {
            lb.forget();
        }
    }

    pub(super) fn take_lb(&mut self) -> Option<Balancer> {
        match self.who.take() {
            Some(Who::Lb(lb)) => Some(*lb),
            other => {
                self.who = other;
                None
            }
        }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if let Some(Who::Peer(_)) = &self.who {
            self.kill();
        }
    }
}

fn write_peer(subject: Subject, setup: &Setup, field: &Field, folder: &Path) {
    let (name, text) = match subject {
        Subject::Haproxy => ("haproxy.cfg", setup.haproxy(field, folder)),
        _ => ("nginx.conf", setup.nginx(field, folder)),
    };
    std::fs::write(folder.join(name), text).unwrap();
}

fn peer_command(subject: Subject, folder: &Path) -> Command {
    let mut command = match subject {
        Subject::Haproxy => {
            let mut command = Command::new("haproxy");
            command.args(["-W", "-db", "-f"]).arg(folder.join("haproxy.cfg"));
            command
        }
        _ => {
            let mut command = Command::new("nginx");
            command.arg("-c").arg(folder.join("nginx.conf"));
            command
        }
    };
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}
