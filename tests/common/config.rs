//! An `lb.toml`, put together.

use std::fmt::Write;
use std::net::SocketAddr;

/// One service unless another is added. Health checks are off unless they are asked for: a scripted backend counts its connections.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    runtime: String,
    log: String,
    admin: String,
    services: Vec<Service>,
}

#[derive(Clone, Debug)]
struct Service {
    name: String,
    listen: String,
    lines: String,
    health: String,
    managed: String,
    backends: String,
}

impl Service {
    fn new(name: &str, listen: &str) -> Self {
        Self {
            name: name.to_owned(),
            listen: listen.to_owned(),
            lines: String::new(),
            health: "kind = \"off\"".to_owned(),
            managed: String::new(),
            backends: String::new(),
        }
    }
}

impl Config {
    /// The service `echo` on a free port.
    pub(crate) fn new() -> Self {
        Self {
            runtime: "workers = 2".to_owned(),
            log: String::new(),
            // Many balancers run at once, and port 8000 is there once.
            admin: "listen = \"off\"".to_owned(),
            services: vec![Service::new("echo", "\"127.0.0.1:0\"")],
        }
    }

    /// Two backends that say their names, `a` and `b`, are a service of their own in many tests.
    pub(crate) fn with_backends(backends: &[(&str, SocketAddr)]) -> Self {
        backends.iter().fold(Self::new(), |config, (name, address)| {
            config.backend(name, *address, "")
        })
    }

    /// The lines of `[runtime]`, instead of `workers = 2`.
    pub(crate) fn runtime(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.runtime);
        self
    }

    pub(crate) fn log(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.log);
        self
    }

    /// The lines of `[admin]`, instead of `listen = "off"`.
    pub(crate) fn admin(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.admin);
        self
    }

    /// Another service; what follows is about it.
    pub(crate) fn and_service(mut self, name: &str) -> Self {
        self.services.push(Service::new(name, "\"127.0.0.1:0\""));
        self
    }

    fn last(&mut self) -> &mut Service {
        self.services.last_mut().unwrap()
    }

    /// The value of `listen`, as TOML.
    pub(crate) fn listen(mut self, value: &str) -> Self {
        value.clone_into(&mut self.last().listen);
        self
    }

    /// The lines of `[service.discovery]`.
    pub(crate) fn discovery(mut self, lines: &str) -> Self {
        write!(self.last().backends, "[service.discovery]\n{lines}\n").unwrap();
        self
    }

    /// A section of the service, with its header.
    pub(crate) fn section(mut self, text: &str) -> Self {
        writeln!(self.last().backends, "{text}").unwrap();
        self
    }

    /// The lines of `[service.proxy_protocol]`.
    pub(crate) fn proxy_protocol(mut self, lines: &str) -> Self {
        write!(self.last().backends, "[service.proxy_protocol]\n{lines}\n").unwrap();
        self
    }

    /// Lines of `[[service]]`.
    pub(crate) fn service(mut self, lines: &str) -> Self {
        writeln!(self.last().lines, "{lines}").unwrap();
        self
    }

    /// The lines of `[service.health]`.
    pub(crate) fn health(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.last().health);
        self
    }

    /// The lines of `[service.managed]`; there is none without.
    pub(crate) fn managed(mut self, lines: &str) -> Self {
        self.last().managed = format!("[service.managed]\n{lines}");
        self
    }

    pub(crate) fn backend(mut self, name: &str, address: SocketAddr, lines: &str) -> Self {
        writeln!(
            self.last().backends,
            "[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"\n{lines}"
        )
        .unwrap();
        self
    }

    /// The last service by another name.
    pub(crate) fn renamed(mut self, name: &str) -> Self {
        name.clone_into(&mut self.last().name);
        self
    }

    /// How many addresses each service listens on is the number of quotes, halved.
    pub(crate) fn names(&self) -> Vec<String> {
        self.services.iter().map(|service| service.name.clone()).collect()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "[runtime]\n{}\n[log]\n{}\n[admin]\n{}\n",
            self.runtime, self.log, self.admin
        );
        for Service {
            name,
            listen,
            lines,
            health,
            managed,
            backends,
        } in &self.services
        {
            writeln!(
                text,
                "[[service]]\nname = \"{name}\"\nlisten = {listen}\n{lines}\n[service.health]\n{health}\n{managed}\n{backends}"
            )
            .unwrap();
        }
        text
    }
}
