//! `[service.managed.scale]`: between which numbers of replicas, by which load, and how far ahead. Called by `managed`.
//!
//! May not: know how a load becomes a number of replicas.

use std::time::Duration;

use super::problems::{Findings, quoted};
use super::reader::{Integers, Table};
use super::scalars;
use super::shapes::SCALE;
use super::values::{Prediction, Scale};
use super::{COOLDOWN, PREDICT, REPLICAS_MAX, SEASON, TARGET_CONNECTIONS_MAX};

/// The section of a `[service.managed]` with room for `most` replicas; `None` if it has none, or not a valid one.
pub(super) fn scale(managed: &Table, most: usize, findings: &mut Findings) -> Option<Scale> {
    managed.get("scale")?;
    let table = managed.section("scale", &SCALE, findings);
    let most = u32::try_from(most.min(REPLICAS_MAX)).unwrap_or(u32::MAX).max(1);
    let replicas = Integers {
        range: 1..=most,
        zero: "",
    };
    let min = table.integer("min", &replicas, 1, findings);
    let max = match table.get("max") {
        Some(field) => field.integer(&replicas, findings),
        None => {
            table.missing("max", &format!("how many replicas at most, up to {most}"), findings);
            None
        }
    };
    if let Some(max) = max.filter(|max| *max < min)
        && let Some(field) = table.get("min")
    {
        field.refuse(&format!("at most max, which is {max}"), "", findings);
    }
    let targets = Integers {
        range: 1..=TARGET_CONNECTIONS_MAX,
        zero: "",
    };
    let target_connections = match table.get("target_connections") {
        Some(field) => field.integer(&targets, findings),
        None => {
            table.missing(
                "target_connections",
                "how many live connections a replica is to have",
                findings,
            );
            None
        }
    };
    let cooldown = scalars::duration(&table, "cooldown", &COOLDOWN, "1m", findings);
    let prediction = prediction(&table, findings);
    Some(Scale {
        min: u16::try_from(min).ok()?,
        max: u16::try_from(max?).ok()?,
        target_connections: target_connections?,
        cooldown,
        prediction,
    })
}

fn prediction(table: &Table, findings: &mut Findings) -> Option<Prediction> {
    let ahead = scalars::duration_or_off(table, "predict", &PREDICT, ("off", "2m"), findings);
    let season = scalars::duration(table, "season", &SEASON, "24h", findings);
    let Some(ahead) = ahead else {
        // A value of "predict" that was refused has been told already.
        if let Some(field) = table.get("season").filter(|_| is_off(table)) {
            let said = format!("this key goes with predict = {}, found predict = \"off\"", quoted("2m"));
            findings.add(field.at, field.path, said);
        }
        return None;
    };
    let longest = season.checked_div(4).unwrap_or_default();
    if ahead > longest
        && let Some(field) = table.get("predict")
    {
        let longest = humantime::format_duration(Duration::from_secs(longest.as_secs()));
        field.refuse(&format!("at most a quarter of the season, {longest}"), "", findings);
    }
    Some(Prediction { ahead, season })
}

fn is_off(table: &Table) -> bool {
    table.get("predict").is_none_or(|field| field.as_str() == Some("off"))
}

#[cfg(test)]
mod tests {
    use super::super::shapes::Shape;
    use super::super::syntax;
    use super::*;

    const MANAGED: Shape = Shape {
        header: "[service.managed]",
        keys: &[],
        tables: &[("scale", SCALE.header)],
    };

    /// The section of a file that has only this, and what was found.
    fn read(section: &str) -> (Option<Scale>, Vec<String>) {
        let text = format!("[scale]\n{section}");
        let mut findings = Findings::new(&text);
        let root = syntax::read(&text, &mut findings).expect("TOML");
        let table = Table::open(0, "managed".to_owned(), &root, &MANAGED, &mut findings);
        let scale = scale(&table, 20, &mut findings);
        let problems = findings.into_problems("lb.toml");
        (scale, problems.to_string().lines().map(str::to_owned).collect())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let (scale, problems) = read("max = 10\ntarget_connections = 100");
        assert_eq!(problems, [""; 0]);
        let wanted = Scale {
            min: 1,
            max: 10,
            target_connections: 100,
            cooldown: Duration::from_mins(1),
            prediction: None,
        };
        assert_eq!(scale, Some(wanted));
    }

    #[test]
    fn every_key_is_read() {
        let text = "min = 2\nmax = 20\ntarget_connections = 7\ncooldown = \"90s\"\npredict = \"3m\"\nseason = \"7d\"";
        let (scale, problems) = read(text);
        assert_eq!(problems, [""; 0]);
        let wanted = Scale {
            min: 2,
            max: 20,
            target_connections: 7,
            cooldown: Duration::from_secs(90),
            prediction: Some(Prediction {
                ahead: Duration::from_mins(3),
                season: Duration::from_hours(24 * 7),
            }),
        };
        assert_eq!(scale, Some(wanted));
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let (_, problems) =
            read("min = 5\nmax = 3\ntarget_connections = 0\ncooldown = 5\npredict = \"2m\"\nseason = \"5m\"");
        let wanted = [
            "lb.toml:2:7: managed.scale.min: found 5, wanted at most max, which is 3",
            "lb.toml:4:22: managed.scale.target_connections: found 0, wanted an integer from 1 to 1000000",
            "lb.toml:5:12: managed.scale.cooldown: found the integer 5, wanted a duration from 1s to 24h, like \"1m\"; write a unit: \"5s\"?",
            "lb.toml:6:11: managed.scale.predict: found \"2m\", wanted at most a quarter of the season, 1m 15s",
        ];
        assert_eq!(problems, wanted);
    }

    #[test]
    fn a_number_is_bounded_by_the_ports_and_a_key_by_its_section() {
        let (scale, problems) = read("max = 21\nseason = \"24h\"\ntarget = 5");
        assert_eq!(scale, None);
        let wanted = [
            "lb.toml:1:1: managed.scale.target_connections: missing, wanted how many live connections a replica is to have",
            "lb.toml:2:7: managed.scale.max: found 21, wanted an integer from 1 to 20",
            "lb.toml:3:10: managed.scale.season: this key goes with predict = \"2m\", found predict = \"off\"",
            "lb.toml:4:1: managed.scale.target: unknown key; did you mean \"target_connections\"?",
        ];
        assert_eq!(problems, wanted);
    }

    #[test]
    fn a_predict_that_was_refused_says_nothing_of_the_season() {
        let (_, problems) = read("max = 2\ntarget_connections = 5\npredict = \"2 parsecs\"\nseason = \"24h\"");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
