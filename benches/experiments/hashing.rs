//! what hashing is for. Balance and moved keys worked out with lb's own policies (`keys`), and whether clients keep their
//! backends measured with real connections (`sources`).

use lb::page::Picture;
use serde_json::json;

use crate::chapter::{Chapter, GREYS, bars, grouped_bars, picture, table};
use crate::common::Failure;
use crate::figures::{grouped, percent, span};
use crate::scene::Stage;
use crate::{keys, sources};

pub(crate) fn run(stage: &Stage) -> Result<Chapter, Failure> {
    let clients = stage.either(2_000_u32, 200);
    let worked_out = keys::all()?;
    let measured = sources::all(stage, clients)?;
    let mut chapter = Chapter {
        title: "A-4: hashing",
        how: format!(
            "Worked out, without a connection: {} keys (the addresses from 10.0.0.0 on) over {} equal backends by lb's own policies with \
             their default sizes and no bound on the load; modulo is the remainder of xxh3, for comparison. Measured: {} clients, each \
             from its own address, ask lb for a page on which the backend says its name: twice, then while one of four backends is \
             killed, then after it is back. The hashing policies with hash_key = \"source_ip\" and load_factor = 0.",
            grouped(f64::from(keys::KEYS)),
            keys::BACKENDS,
            grouped(f64::from(clients))
        ),
        ..Chapter::default()
    };
    for row in measured.iter().filter(|row| row.policy != "round_robin") {
        if row.again_percent < 100.0 {
            chapter.broken.push(format!(
                "{}: {} of the clients had another backend at once, 0 is required",
                row.policy,
                percent(100.0 - row.again_percent)
            ));
        }
    }
    chapter.pictures = vec![
        balance(&worked_out),
        moved(&worked_out),
        kept(&measured),
        busiest(&measured),
    ];
    chapter.tables = vec![keys_table(&worked_out), sources_table(&measured)];
    chapter.figures = json!({
        "keys": keys::KEYS, "backends": keys::BACKENDS, "clients": clients, "worked_out": worked_out, "measured": measured,
    });
    Ok(chapter)
}

fn listed(rows: impl Iterator<Item = (&'static str, String)>) -> String {
    let told: Vec<String> = rows.map(|(policy, figure)| format!("{policy} {figure}")).collect();
    told.join(", ")
}

fn balance(rows: &[keys::Row]) -> Picture {
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.policy, row.colour, row.most_to_mean))
        .collect();
    let all = listed(rows.iter().map(|row| (row.policy, format!("{:.3}", row.most_to_mean))));
    let by_value = |one: &&keys::Row, other: &&keys::Row| one.most_to_mean.total_cmp(&other.most_to_mean);
    let worst = rows.iter().max_by(by_value).map_or_else(String::new, |row| {
        format!(
            "With {} one backend has {} more keys than its share",
            row.policy,
            percent(100.0 * (row.most_to_mean - 1.0))
        )
    });
    bars(
        picture("Balance, worked out: the backend with most keys", "times the mean"),
        &shown,
    )
    .caption(&format!("In parts of the mean: {all}. {worst}."))
}

fn moved(rows: &[keys::Row]) -> Picture {
    let names: Vec<&str> = rows.iter().map(|row| row.policy).collect();
    let values = |value: fn(&keys::Row) -> f64| rows.iter().map(value).collect();
    let series = [
        (
            "one leaves".to_owned(),
            GREYS[1],
            values(|row| row.moved_by_leaving_percent),
        ),
        (
            "one joins".to_owned(),
            GREYS[2],
            values(|row| row.moved_by_joining_percent),
        ),
    ];
    let leaving = listed(
        rows.iter()
            .map(|row| (row.policy, percent(row.moved_by_leaving_percent))),
    );
    let needless = listed(rows.iter().map(|row| {
        let (leaving, joining) = (
            row.moved_needlessly_by_leaving_percent,
            row.moved_needlessly_by_joining_percent,
        );
        (row.policy, format!("{} and {}", percent(leaving), percent(joining)))
    }));
    grouped_bars(picture("Keys that move, worked out", "% of all keys"), &names, &series).caption(&format!(
        "When one of {} leaves, {} must move for an even share, and there move: {leaving}. Needlessly moved, from a backend that stays \
         to another that was there before, when one leaves and when one joins: {needless}.",
        keys::BACKENDS,
        percent(keys::LEAVING_LEAST_PERCENT)
    ))
}

fn kept(rows: &[sources::Row]) -> Picture {
    let names: Vec<&str> = rows.iter().map(|row| row.policy).collect();
    let values = |value: fn(&sources::Row) -> f64| rows.iter().map(value).collect();
    let series = [
        ("at once".to_owned(), GREYS[2], values(|row| row.again_percent)),
        (
            "while one is down, the others'".to_owned(),
            GREYS[1],
            values(|row| row.while_stopped_percent),
        ),
        (
            "after it is back".to_owned(),
            GREYS[0],
            values(|row| row.afterwards_percent),
        ),
    ];
    let plain = rows.iter().find(|row| row.policy == "round_robin");
    let plain = |value: fn(&sources::Row) -> f64| percent(plain.map_or(f64::NAN, value));
    let others: Vec<&sources::Row> = rows.iter().filter(|row| row.policy != "round_robin").collect();
    let others = |value: fn(&sources::Row) -> f64| others.iter().map(|row| value(row)).collect::<Vec<_>>();
    let after = listed(rows.iter().map(|row| (row.policy, percent(row.afterwards_percent))));
    grouped_bars(
        picture("Clients that get their backend again, measured", "% of the clients"),
        &names,
        &series,
    )
    .caption(&format!(
        "At once {} of the clients come back to the same backend, by policy, and while one is down {} of those of the others; with plain \
         round robin it is {} and {}. After its return it is, of all: {after}.",
        span(&others(|row| row.again_percent), percent),
        span(&others(|row| row.while_stopped_percent), percent),
        plain(|row| row.again_percent),
        plain(|row| row.while_stopped_percent)
    ))
}

fn busiest(rows: &[sources::Row]) -> Picture {
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row.policy, row.colour, row.most_to_mean))
        .collect();
    let all = listed(rows.iter().map(|row| (row.policy, format!("{:.2}", row.most_to_mean))));
    let by_value = |one: &&sources::Row, other: &&sources::Row| one.most_to_mean.total_cmp(&other.most_to_mean);
    let best = rows.iter().min_by(by_value).map_or("", |row| row.policy);
    bars(
        picture("Balance, measured: the backend with most clients", "times the mean"),
        &shown,
    )
    .caption(&format!(
        "In parts of the mean, in the first round: {all}. Most even is {best}."
    ))
}

fn keys_table(rows: &[keys::Row]) -> lb::page::Table {
    let cells = |row: &keys::Row| {
        vec![
            row.policy.to_owned(),
            format!("{:.3}", row.most_to_mean),
            percent(row.moved_by_leaving_percent),
            percent(row.moved_needlessly_by_leaving_percent),
            percent(row.moved_by_joining_percent),
            percent(row.moved_needlessly_by_joining_percent),
        ]
    };
    let head = [
        "policy",
        "most to mean",
        "moved: one leaves",
        "needlessly",
        "moved: one joins",
        "needlessly",
    ];
    let title = format!(
        "Worked out; at least {} and {} must move",
        percent(keys::LEAVING_LEAST_PERCENT),
        percent(keys::JOINING_LEAST_PERCENT)
    );
    table(&title, &head, rows.iter().map(cells).collect())
}

fn sources_table(rows: &[sources::Row]) -> lb::page::Table {
    let cells = |row: &sources::Row| {
        vec![
            row.policy.to_owned(),
            percent(row.again_percent),
            percent(row.while_stopped_percent),
            percent(row.afterwards_percent),
            format!("{:.3}", row.most_to_mean),
        ]
    };
    let head = [
        "policy",
        "at once",
        "while one is down",
        "after its return",
        "most to mean",
    ];
    table("Measured: same backend again", &head, rows.iter().map(cells).collect())
}
