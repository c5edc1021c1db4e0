//! `lb completions` and `lb man`: what is typed, for shells and for man(1), from the definitions that are parsed.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::commands::print;
use super::failure::Failure;
use super::typed::Cli;

/// `lb completions SHELL`: the script, on standard output.
pub fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    // The one writer in it that can fail is the vector, which can't; printing may.
    clap_complete::generate(shell, &mut <Cli as CommandFactory>::command(), "lb", &mut script);
    printed(Ok(script))
}

/// `lb man [COMMAND]`: a page in roff, on standard output.
pub fn man(of: Option<&str>) -> ExitCode {
    printed(page(of))
}

fn page(of: Option<&str>) -> Result<Vec<u8>, Failure> {
    let mut all = <Cli as CommandFactory>::command();
    all.build();
    let command = match of {
        None => all,
        Some(name) => {
            let names = || all.get_subcommands().map(clap::Command::get_name);
            let found = all.find_subcommand(name).cloned();
            let unknown = || {
                let known = names().collect::<Vec<_>>().join(", ");
                Failure::Usage(format!("no subcommand \"{name}\"; there are {known}"))
            };
            found.ok_or_else(unknown)?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(Failure::Output)?;
    Ok(page)
}

fn printed(bytes: Result<Vec<u8>, Failure>) -> ExitCode {
    let said = bytes.and_then(|bytes| print(|| io::stdout().lock().write_all(&bytes)));
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_tells_of_every_subcommand() {
        let text = String::from_utf8(page(None).unwrap()).unwrap();
        let all = <Cli as CommandFactory>::command();
        for subcommand in all.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let name = subcommand.get_name();
            assert!(text.contains(&format!("lb\\-{name}(1)")), "{name}: {text}");
            assert!(!page(Some(name)).unwrap().is_empty());
        }
        assert!(page(Some("add")).is_ok_and(|page| String::from_utf8_lossy(&page).contains("\\-\\-backup")));
        assert!(matches!(page(Some("ad")), Err(Failure::Usage(_))));
    }
}
