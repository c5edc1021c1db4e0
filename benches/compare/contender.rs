//! Who takes part: how each is started, and with which configuration.
//!
//! The configurations are the files in `scripts/bench/`; here their blanks are filled. A line with `@NAME@` stands for one line a
//! backend.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::Case;
use crate::common::{Failure, say};

/// The programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No balancer: the client speaks to one backend.
    Direct,
    Lb {
        program: PathBuf,
    },
    Haproxy {
        program: PathBuf,
        splices: bool,
    },
    Nginx,
}

/// One that takes part.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) label: String,
    pub(crate) version: String,
    pub(crate) kind: Kind,
}

/// Everyone that is installed; says who isn't.
pub(crate) fn all(other_lb: Option<&Path>, other_haproxy: Option<&Path>) -> Result<Vec<Contender>, Failure> {
    let mut contenders = vec![Contender {
        label: "direct".to_owned(),
        version: "no balancer between client and backend".to_owned(),
        kind: Kind::Direct,
    }];
    for (label, program) in [
        ("lb", Some(Path::new(env!("CARGO_BIN_EXE_lb")))),
        ("lb-other", other_lb),
    ] {
        if let Some(program) = program {
            contenders.push(Contender {
                label: label.to_owned(),
                version: first_line(Command::new(program).arg("--version"))?,
                kind: Kind::Lb {
                    program: program.to_owned(),
                },
            });
        }
    }
    let installed = find("haproxy");
    for (program, is_other) in [(installed.as_deref(), false), (other_haproxy, true)] {
        let Some(program) = program else { continue };
        let version = first_line(Command::new(program).arg("-v"))?;
        let number = version.split(' ').nth(2).unwrap_or_default();
        let short = number.split('-').take(if number.contains("-dev") { 2 } else { 1 });
        let name = if is_other {
            format!("haproxy-{}", short.collect::<Vec<_>>().join("-"))
        } else {
            "haproxy".to_owned()
        };
        for splices in [false, true] {
            contenders.push(Contender {
                label: format!("{name}{}", if splices { "-splice" } else { "" }),
                version: version.clone(),
                kind: Kind::Haproxy {
                    program: program.to_owned(),
                    splices,
                },
            });
        }
    }
    if installed.is_none() {
        say("skipped: haproxy: not installed; apt-get install haproxy");
    }
    match find("nginx") {
        Some(program) if nginx_module().is_some() => contenders.push(Contender {
            label: "nginx".to_owned(),
            version: first_line(Command::new(program).arg("-v"))?,
            kind: Kind::Nginx,
        }),
        _ => say("skipped: nginx: not installed with its stream module; apt-get install nginx libnginx-mod-stream"),
    }
    Ok(contenders)
}

/// Where a program is; Debian keeps daemons out of the path of users.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The stream module as Debian packs it.
fn nginx_module() -> Option<PathBuf> {
    let file = PathBuf::from("/usr/lib/nginx/modules/ngx_stream_module.so");
    file.is_file().then_some(file)
}

fn first_line(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// What a configuration is made of.
pub(crate) struct Wiring<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) backends: &'a [SocketAddr],
    /// An empty folder of its own.
    pub(crate) folder: &'a Path,
}

impl Contender {
    /// The command that starts it, its configuration written; nothing for none.
    pub(crate) fn command(&self, case: &Case, wiring: &Wiring<'_>) -> Result<Option<Command>, Failure> {
        let (template, program, flags): (_, PathBuf, &[&str]) = match &self.kind {
            Kind::Direct => return Ok(None),
            Kind::Lb { program } => ("lb.toml", program.clone(), &["--config"]),
            Kind::Haproxy {
                program,
                splices: false,
            } => ("haproxy.cfg", program.clone(), &["-db", "-q", "-f"]),
            Kind::Haproxy { program, splices: true } => ("haproxy-splice.cfg", program.clone(), &["-db", "-q", "-f"]),
            Kind::Nginx => ("nginx.conf", find("nginx").ok_or("nginx is gone")?, &["-c"]),
        };
        let file = wiring.folder.join(template);
        std::fs::write(&file, fill(template, case, wiring)?)?;
        let mut command = Command::new(program);
        command.args(flags).arg(&file).current_dir(wiring.folder);
        Ok(Some(command))
    }
}

fn fill(template: &str, case: &Case, wiring: &Wiring<'_>) -> Result<String, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts/bench")
        .join(template);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    // A buffer as large as a chunk serves bulk best, and would only cost memory elsewhere.
    let buffer_bytes = match case.per {
        crate::case::Per::Gigabyte => "65536",
        crate::case::Per::Request => "16384",
    };
    let mut filled = String::new();
    // A backend may take several lines: the block from the first line with @NAME@ to the last with @ADDRESS@ is repeated.
    let (mut before, mut block, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        if line.contains("@NAME@") || line.contains("@ADDRESS@") || line.contains("[[service.backend]]") {
            block.push(line);
        } else if block.is_empty() {
            before.push(line);
        } else {
            after.push(line);
        }
    }
    let mut push = |line: &str| {
        filled.push_str(line);
        filled.push('\n');
    };
    before.iter().copied().for_each(&mut push);
    for (number, address) in wiring.backends.iter().enumerate() {
        for line in &block {
            push(
                &line
                    .replace("@NAME@", &format!("b{number}"))
                    .replace("@ADDRESS@", &address.to_string()),
            );
        }
    }
    after.iter().copied().for_each(&mut push);
    Ok(filled
        .replace("@LISTEN@", &wiring.listen.to_string())
        .replace("@WORKERS@", &case.workers.to_string())
        .replace("@BUFFER@", buffer_bytes)
        .replace("@FOLDER@", &wiring.folder.display().to_string()))
}
