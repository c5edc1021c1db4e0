//! Query strings: what each endpoint takes, and nothing else, so that a slip of the pen isn't silently without effect.

use std::ops::RangeInclusive;

use hyper::StatusCode;

use super::answer::Failure;
use super::routes::Action;
use crate::config;

/// A parameter of a query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// What it is.
    pub(super) summary: &'static str,
    /// Its JSON schema.
    pub(super) schema: &'static str,
}

/// A name of `api`, as the description has it.
const NAME: &str = r##"{"$ref":"#/components/schemas/Name"}"##;

const SERVICE: Parameter = Parameter {
    name: "service",
    summary: "Of this service only",
    schema: NAME,
};

/// What an endpoint takes.
pub(super) const fn parameters(action: Action) -> &'static [Parameter] {
    match action {
        Action::RemoveBackend => &[Parameter {
            name: "drain",
            summary: "How long its connections may live, from 0s to 24h, like 30s; [runtime] drain_timeout where it isn't said",
            schema: r#"{"type":"string","pattern":"^([0-9]{1,5}ms|[0-9]{1,4}s|[0-9]{1,3}m|[0-9]h|1[0-9]h|2[0-4]h)$"}"#,
        }],
        Action::Connections => &[
            SERVICE,
            Parameter {
                name: "backend",
                summary: "On backends of this name only",
                schema: NAME,
            },
            Parameter {
                name: "limit",
                summary: "At most so many; 100 where it isn't said",
                schema: r#"{"type":"integer","minimum":1,"maximum":1000}"#,
            },
        ],
        Action::Replicas | Action::AddReplicas | Action::RemoveReplicas => &[SERVICE],
        Action::History => &[
            SERVICE,
            Parameter {
                name: "minutes",
                summary: "The last so many; 30 where it isn't said",
                schema: r#"{"type":"integer","minimum":1,"maximum":30}"#,
            },
        ],
        _ => &[],
    }
}

/// The parameters that were given.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    ///
    /// # Errors
    /// A parameter that the endpoint doesn't take, or one twice.
    pub(super) fn parse(text: Option<&str>, action: Action) -> Result<Self, Failure> {
        let known = parameters(action);
        let mut given: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or("").as_bytes()) {
            if !known.iter().any(|parameter| parameter.name == name) {
                let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
                let allowed = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                return Err(bad(format!(
                    "the parameter {} isn't known there, allowed: {allowed}",
                    name.escape_debug()
                )));
            }
            if given.iter().any(|(other, _)| *other == name) {
                return Err(bad(format!("the parameter {name} was given twice")));
            }
            if matches!(&*name, "service" | "backend") {
                config::check_name(&value).map_err(|message| bad(format!("{name}: {message}")))?;
            }
            given.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(given))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// A whole number in a range.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text
            .parse()
            .ok()
            .filter(|number| range.contains(number) && text.bytes().all(|byte| byte.is_ascii_digit()));
        number.map(Some).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            bad(format!(
                "{name}: found \"{}\", wanted a number from {least} to {most}",
                text.escape_debug()
            ))
        })
    }
}

fn bad(message: String) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "bad_parameter", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_parameters_are_taken_and_each_once() {
        let query = Query::parse(Some("service=a%2Eb&limit=7"), Action::Connections).unwrap();
        assert_eq!((query.get("service"), query.get("backend")), (Some("a.b"), None));
        assert_eq!(query.number("limit", 1..=10).unwrap(), Some(7));
        assert!(query.number("limit", 1..=6).is_err() && query.number("service", 1..=6).is_err());
        assert!(Query::parse(Some("limit=1&limit=2"), Action::Connections).is_err());
        assert!(Query::parse(Some("drian=30s"), Action::RemoveBackend).is_err());
        assert!(Query::parse(Some("x"), Action::Status).is_err());
        assert!(Query::parse(Some("backend="), Action::Connections).is_err());
        assert!(Query::parse(Some(""), Action::Status).is_ok() && Query::parse(None, Action::Status).is_ok());
    }

    #[test]
    fn every_drain_time_of_the_schema_is_taken() {
        let schema: serde_json::Value = serde_json::from_str(parameters(Action::RemoveBackend)[0].schema).unwrap();
        let pattern = schema["pattern"].as_str().unwrap();
        let whole = pattern
            .strip_prefix('^')
            .and_then(|rest| rest.strip_suffix('$'))
            .unwrap();
        let times = proptest::string::string_regex(whole).unwrap();
        let taken = proptest::test_runner::TestRunner::default().run(&times, |text| {
            proptest::prop_assert!(config::drain(&text).is_ok(), "{}", text);
            Ok(())
        });
        assert_eq!(taken, Ok(()));
    }
}
