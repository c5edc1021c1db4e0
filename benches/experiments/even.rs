//! how evenly each policy spreads many connections over three equal backends.

use lb::page::Picture;
use serde::Serialize;
use serde_json::json;

use crate::chapter::{Chapter, GREYS, grouped_bars, picture, server_series, table};
use crate::common::Failure;
use crate::figures::{chi_square, farthest_percent, grouped, least, most, p_of_three, percent, probability, span};
use crate::policy::{HASHING, PLAIN, Policy};
use crate::scene::{NO_HEALTH, Setup, Stage, server_name, tell};

const BACKENDS: usize = 3;
const AT_ONCE: &str = "100";

/// How the hashing policies are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    words: &'static str,
    keys: &'static str,
    colour: &'static str,
}

const NUMBERED: Variant = Variant {
    words: "by number, unbounded",
    keys: "hash_key = \"connection\"\nload_factor = 0",
    colour: GREYS[0],
};
const NUMBERED_BOUNDED: Variant = Variant {
    words: "by number, load_factor 1.25",
    keys: "hash_key = \"connection\"",
    colour: GREYS[1],
};
const ADDRESSED: Variant = Variant {
    words: "by address and port, unbounded",
    keys: "hash_key = \"source_address\"\nload_factor = 0",
    colour: GREYS[2],
};
const VARIANTS: [Variant; 3] = [NUMBERED, NUMBERED_BOUNDED, ADDRESSED];

#[derive(Serialize)]
struct Row {
    policy: &'static str,
    /// Of a hashing policy: what it hashes, and whether loads are bounded.
    variant: Option<&'static str>,
    connections: Vec<f64>,
    farthest_from_even_percent: f64,
    chi_square: f64,
    p: f64,
}

pub(crate) fn run(stage: &Stage) -> Result<Chapter, Failure> {
    let total = stage.either(10_000_u32, 1_500);
    let mut chapter = Chapter {
        title: "A-1: even shares",
        how: format!(
            "{} connections of one request, {AT_ONCE} at a time, over {BACKENDS} backends; each backend told how many it had taken. \
             All come from one address, so the hashing policies go by the connection's number (hash_key = \"connection\"), or by \
             address and port (\"source_address\").",
            grouped(f64::from(total))
        ),
        ..Chapter::default()
    };
    let hashing = HASHING
        .iter()
        .flat_map(|policy| VARIANTS.map(|variant| (*policy, Some(variant))));
    let mut rows = Vec::new();
    for (policy, variant) in PLAIN.map(|policy| (policy, None)).into_iter().chain(hashing) {
        rows.push(one(stage, total, policy, variant, &mut chapter)?);
    }
    chapter.pictures = vec![shares(&rows), variants(&rows)];
    chapter.tables = vec![figures(&rows)];
    chapter.figures = json!({"connections": total, "at_once": AT_ONCE, "backends": BACKENDS, "rows": rows});
    Ok(chapter)
}

fn one(
    stage: &Stage,
    total: u32,
    policy: Policy,
    variant: Option<Variant>,
    chapter: &mut Chapter,
) -> Result<Row, Failure> {
    let setup = Setup {
        policy,
        keys: variant.map_or("", |variant| variant.keys),
        tables: NO_HEALTH,
        delays: vec!["0s"; BACKENDS],
        is_http: false,
    };
    let (report, connections) = stage.play(&setup, |scene| {
        let report = scene.load(&["--conns", &total.to_string(), "--concurrency", AT_ONCE])?;
        Ok((report, scene.connections()?))
    })?;
    let words = variant.map_or("", |variant| variant.words);
    let name = format!("{} {words}", policy.label);
    let name = name.trim();
    if connections.iter().sum::<f64>() != f64::from(total) {
        let broken = format!("{name}: the backends took {connections:?} connections, {total} were made");
        chapter.broken.push(broken);
    }
    chapter.keep_times(&format!("A-1 {name}"), &report);
    tell("A-1", &format!("{name}: {connections:?}"));
    let chi_square = chi_square(&connections);
    Ok(Row {
        policy: policy.label,
        variant: variant.map(|variant| variant.words),
        farthest_from_even_percent: farthest_percent(&connections),
        chi_square,
        p: p_of_three(chi_square),
        connections,
    })
}

/// Each policy once: the hashing ones by number and unbounded, as their hash alone spreads.
fn shares(rows: &[Row]) -> Picture {
    let shown: Vec<&Row> = rows
        .iter()
        .filter(|row| row.variant.is_none_or(|words| words == NUMBERED.words))
        .collect();
    let names: Vec<&str> = shown.iter().map(|row| row.policy).collect();
    let series = server_series(BACKENDS, |place| {
        let of_backend = |row: &&Row| row.connections.get(place).copied().unwrap_or(0.0);
        shown.iter().map(of_backend).collect()
    });
    let by_distance = |one: &&&Row, other: &&&Row| {
        one.farthest_from_even_percent
            .total_cmp(&other.farthest_from_even_percent)
    };
    let told = |row: Option<&&Row>| {
        row.map_or_else(String::new, |row| {
            format!(
                "{} with {} to {} connections a backend, at most {} from even (chi-square {:.1}, p {})",
                row.policy,
                grouped(least(&row.connections)),
                grouped(most(&row.connections)),
                percent(row.farthest_from_even_percent),
                row.chi_square,
                probability(row.p)
            )
        })
    };
    let caption = format!(
        "Most even is {}. Least even is {}.",
        told(shown.iter().min_by(by_distance)),
        told(shown.iter().max_by(by_distance))
    );
    grouped_bars(
        picture("Connections of each backend, by policy", "connections"),
        &names,
        &series,
    )
    .caption(&caption)
}

fn variants(rows: &[Row]) -> Picture {
    let names = HASHING.map(|policy| policy.label);
    let of = |policy: &str, variant: &Variant| {
        let mut found = rows
            .iter()
            .filter(|row| row.policy == policy && row.variant == Some(variant.words));
        found.next().map_or(f64::NAN, |row| row.farthest_from_even_percent)
    };
    let series = VARIANTS.map(|variant| {
        let values = names.iter().map(|name| of(name, &variant)).collect();
        (variant.words.to_owned(), variant.colour, values)
    });
    let pairs = names.iter().map(|name| {
        let (unbounded, bounded) = (of(name, &NUMBERED), of(name, &NUMBERED_BOUNDED));
        format!("{name} from {} to {}", percent(unbounded), percent(bounded))
    });
    let addressed: Vec<f64> = names.iter().map(|name| of(name, &ADDRESSED)).collect();
    let caption = format!(
        "A bound of 1.25 times the mean on live connections takes the backend farthest from even: {}. By address and port, as one \
         host makes connections, it is {} from even.",
        pairs.collect::<Vec<_>>().join(", "),
        span(&addressed, percent)
    );
    grouped_bars(
        picture("Hashing: the backend farthest from even", "% from even"),
        &names,
        &series,
    )
    .caption(&caption)
}

fn figures(rows: &[Row]) -> lb::page::Table {
    let servers = (0..BACKENDS).map(server_name).collect::<Vec<_>>();
    let mut head = vec!["policy", "hashes"];
    head.extend(servers.iter().map(String::as_str));
    head.extend(["farthest from even", "chi-square", "p if even by chance"]);
    let cells = |row: &Row| {
        let mut cells = vec![row.policy.to_owned(), row.variant.unwrap_or("-").to_owned()];
        cells.extend(row.connections.iter().map(|count| grouped(*count)));
        cells.extend([
            percent(row.farthest_from_even_percent),
            format!("{:.2}", row.chi_square),
            probability(row.p),
        ]);
        cells
    };
    table("", &head, rows.iter().map(cells).collect())
}
