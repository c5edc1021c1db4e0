//! A-4, measured: whether clients that come again get the backend they had, also while one is gone and after it is back.
//!
//! Every client has an address of its own (127.1.0.0 and on), and asks through lb for the page on which a backend says its name.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::common::Failure;
use crate::http;
use crate::policy::{HASHING, Policy, ROUND_ROBIN, STICKY};
use crate::scene::{Scene, Setup, Stage, server_name, tell};

const BACKENDS: usize = 4;
const STOPPED: usize = 1;
const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 0);
const KEYS: &str = "hash_key = \"source_ip\"";
const UNBOUNDED_KEYS: &str = "hash_key = \"source_ip\"\nload_factor = 0";
/// Often, so that nobody has to wait long for lb to see what has changed.
const HEALTH: &str = "[service.health]\ninterval = \"200ms\"\n";
const STICKY_HEALTH: &str = "[service.sticky]\n\n[service.health]\ninterval = \"200ms\"\n";

/// Shares of clients that got the backend they had had in the first round.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) policy: &'static str,
    #[serde(skip)]
    pub(crate) colour: &'static str,
    pub(crate) again_percent: f64,
    /// While one backend is stopped, of the clients of the others.
    pub(crate) while_stopped_percent: f64,
    /// Once it is back, of all.
    pub(crate) afterwards_percent: f64,
    /// The busiest backend in the first round, in parts of the mean.
    pub(crate) most_to_mean: f64,
}

/// Every policy in question, with so many clients.
pub(crate) fn all(stage: &Stage, clients: u32) -> Result<Vec<Row>, Failure> {
    let hashing = HASHING.map(|policy| (policy, UNBOUNDED_KEYS, HEALTH));
    let others = [(STICKY, KEYS, STICKY_HEALTH), (ROUND_ROBIN, KEYS, HEALTH)];
    let mut rows = Vec::new();
    for (policy, keys, tables) in hashing.into_iter().chain(others) {
        let setup = Setup {
            policy,
            keys,
            tables,
            delays: vec!["0s"; BACKENDS],
            is_http: true,
        };
        let row = stage.play(&setup, |scene| one(scene, policy, clients))?;
        let words = format!(
            "{}: again {:.0} %, while one is down {:.0} %, afterwards {:.0} %",
            row.policy, row.again_percent, row.while_stopped_percent, row.afterwards_percent
        );
        tell("A-4", &words);
        rows.push(row);
    }
    Ok(rows)
}

fn one(scene: &mut Scene<'_>, policy: Policy, clients: u32) -> Result<Row, Failure> {
    let first = round(scene, clients, 0)?;
    let again = round(scene, clients, 1)?;
    let name = server_name(STOPPED);
    let stopped = scene.kill(STOPPED)?;
    scene.await_log(&format!("{name} is down"), stopped)?;
    let meanwhile = round(scene, clients, 2)?;
    let back = scene.start_again(STOPPED)?;
    scene.await_log(&format!("{name} is up"), back)?;
    let afterwards = round(scene, clients, 3)?;
    let everyone = |_: &String| true;
    let busiest = (0..BACKENDS).map(|place| {
        let name = server_name(place);
        first.iter().filter(|owner| **owner == name).count()
    });
    let mean = f64::from(clients) / BACKENDS as f64;
    Ok(Row {
        policy: policy.label,
        colour: policy.colour,
        again_percent: kept(&first, &again, everyone),
        while_stopped_percent: kept(&first, &meanwhile, |owner| *owner != name),
        afterwards_percent: kept(&first, &afterwards, everyone),
        most_to_mean: busiest.max().unwrap_or(0) as f64 / mean,
    })
}

/// Which backend each client gets. They come in another order each time: turns alone must not bring anyone back.
fn round(scene: &Scene<'_>, clients: u32, number: u64) -> Result<Vec<String>, Failure> {
    let first = FIRST_CLIENT.to_bits();
    let mut order: Vec<u32> = (first..first.saturating_add(clients)).collect();
    fastrand::Rng::with_seed(number).shuffle(&mut order);
    let mut owners: Vec<(u32, String)> = order
        .into_iter()
        .map(|address| Ok((address, owner(scene, Ipv4Addr::from_bits(address))?)))
        .collect::<Result<_, Failure>>()?;
    owners.sort_unstable();
    Ok(owners.into_iter().map(|(_, owner)| owner).collect())
}

/// The name that the backend of this client says.
fn owner(scene: &Scene<'_>, client: Ipv4Addr) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Home {
        message: String,
    }
    let page = http::get(client, scene.listen, "/home")?;
    let home: Home = serde_json::from_str(&page)?;
    let name = home.message.strip_prefix("Hello from Server: ").map(str::to_owned);
    name.ok_or_else(|| format!("a backend said {page:?} instead of its name").into())
}

/// Of those whose first backend is in question, the share that has it again, in per cent.
fn kept(first: &[String], later: &[String], is_in_question: impl Fn(&String) -> bool) -> f64 {
    let asked: Vec<_> = first
        .iter()
        .zip(later)
        .filter(|(owner, _)| is_in_question(owner))
        .collect();
    100.0 * asked.iter().filter(|(one, other)| one == other).count() as f64 / asked.len() as f64
}
