//! a backend is killed under load, and started again where it was. No connection may be lost for it.
//!
//! A connection that the killed backend had already taken dies with it: nobody can hand its bytes to another. What is required is
//! that lb finds a backend for every connection that it accepted.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lb::page::{Picture, axis};
use plotly::Scatter;
use plotly::common::{Line, Mode};
use plotly::layout::RangeMode;
use serde::Serialize;
use serde_json::json;

use crate::access_log::Entry;
use crate::chapter::{Chapter, server_colour, table};
use crate::common::Failure;
use crate::common::load::Report;
use crate::figures::{counted, grouped};
use crate::policy::ROUND_ROBIN;
use crate::scene::{Scene, Setup, Stage, server_name, tell};

const BACKENDS: usize = 3;
const KILLED: usize = 1;
const RATE: &str = "600";
/// Long enough that there are always some under way.
const DELAY: &str = "5ms";
/// Around the kill and around the return, this is looked at closely.
const CLOSE_SECONDS: f64 = 0.6;

/// When what happened, in seconds since the load began.
#[derive(Clone, Copy, Debug, Serialize)]
struct Moments {
    killed: f64,
    marked_down: f64,
    started_again: f64,
    marked_up: f64,
    /// The first connection that it took again had ended.
    served_again: f64,
}

/// What became of the connections.
#[derive(Debug, Serialize)]
struct Counts {
    accepted: usize,
    /// lb found no backend for them.
    lost: usize,
    /// Their backend had taken them, and ended.
    died: usize,
    /// Requests that the client counts as failed: those of both kinds, and no others.
    failed_requests: f64,
    /// Backends that were tried in vain before another took the connection.
    redispatched: usize,
}

/// A connection's end, in seconds since the load began.
struct Done {
    at: f64,
    entry: Entry,
}

pub(crate) fn run(stage: &Stage) -> Result<Chapter, Failure> {
    let seconds = stage.either(30_u32, 6);
    let setup = Setup {
        policy: ROUND_ROBIN,
        keys: "",
        tables: "",
        delays: vec![DELAY; BACKENDS],
        is_http: false,
    };
    let (moments, done, report) = stage.play(&setup, |scene| play(scene, seconds))?;
    let counts = count(&done, &report)?;
    let mut chapter = Chapter {
        title: "A-3: a backend is killed",
        how: format!(
            "{RATE} connections a second for {seconds} s, one request each, over {BACKENDS} backends that take {DELAY} to answer, with \
             round_robin and lb's default health checks. {} is killed (SIGKILL) at a third and started again on its port at two \
             thirds. Every connection is in lb's access log, by the time of its end.",
            server_name(KILLED)
        ),
        ..Chapter::default()
    };
    chapter.keep_times("A-3", &report);
    judge(&counts, &mut chapter.broken);
    tell("A-3", &format!("{counts:?}, {moments:?}"));
    chapter.pictures = vec![
        loads(&done, moments, f64::from(seconds)),
        close(&done, &counts, moments),
    ];
    chapter.tables = vec![figures(moments, &counts)];
    chapter.figures = json!({
        "rate_per_second": RATE, "seconds": seconds, "delay": DELAY, "moments_seconds": moments, "connections": counts,
        "connections_of_each_backend_each_half_second": halves(&done, f64::from(seconds)),
    });
    Ok(chapter)
}

fn play(scene: &mut Scene<'_>, seconds: u32) -> Result<(Moments, Vec<Done>, Report), Failure> {
    let duration = format!("{seconds}s");
    let third = Duration::from_secs(u64::from(seconds)).div_f64(3.0);
    let (begun, origin) = (Instant::now(), Timestamp::now());
    let load = scene.begin_load(&[
        "--conns",
        "64",
        "--new-connection",
        "--rate",
        RATE,
        "--duration",
        &duration,
    ])?;
    wait_until(begun, third);
    let killed = scene.kill(KILLED)?;
    let name = server_name(KILLED);
    let marked_down = scene.await_log(&format!("{name} is down"), killed)?;
    wait_until(begun, third.saturating_mul(2));
    let started_again = scene.start_again(KILLED)?;
    let marked_up = scene.await_log(&format!("{name} is up"), started_again)?;
    let report = load.finish()?;
    let accepted = report.number("/connections/opened")? as usize;
    let since = |moment: Timestamp| moment.duration_since(origin).as_secs_f64();
    let entries = scene.await_access_log(accepted)?.into_iter();
    let done: Vec<Done> = entries
        .map(|entry| Done {
            at: since(entry.time),
            entry,
        })
        .collect();
    let mut again = done
        .iter()
        .filter(|done| done.entry.backend.as_deref() == Some(&name) && done.at >= since(started_again));
    let moments = Moments {
        killed: since(killed),
        marked_down: since(marked_down),
        started_again: since(started_again),
        marked_up: since(marked_up),
        served_again: again.next().ok_or("the backend got no connection any more")?.at,
    };
    Ok((moments, done, report))
}

fn wait_until(begun: Instant, after: Duration) {
    while let Some(left) = after.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

fn count(done: &[Done], report: &Report) -> Result<Counts, Failure> {
    let entries = || done.iter().map(|done| &done.entry);
    Ok(Counts {
        accepted: done.len(),
        lost: entries().filter(|entry| entry.is_lost()).count(),
        died: entries().filter(|entry| entry.has_died()).count(),
        failed_requests: report.number("/requests/failed")?,
        redispatched: entries().map(|entry| entry.retries).sum(),
    })
}

fn judge(counts: &Counts, broken: &mut Vec<String>) {
    if counts.lost > 0 {
        broken.push(format!(
            "lb found no backend for {} connections, 0 is required",
            counts.lost
        ));
    }
    let explained = counts.lost.saturating_add(counts.died);
    if counts.failed_requests != explained as f64 {
        broken.push(format!(
            "the client counts {} failed requests, the access log explains {explained}",
            counts.failed_requests
        ));
    }
}

/// Ends of each backend's connections in pieces of this length, from `from` on, each at its middle.
fn pieces(done: &[Done], place: usize, (from, until): (f64, f64), length: f64) -> (Vec<f64>, Vec<f64>) {
    let count = ((until - from) / length).round() as usize;
    let mut counts = vec![0.0; count];
    let name = server_name(place);
    for done in done
        .iter()
        .filter(|done| done.at >= from && done.entry.backend.as_deref() == Some(&name))
    {
        if let Some(count) = counts.get_mut(((done.at - from) / length) as usize) {
            *count += 1.0;
        }
    }
    let middles = (0..count).map(|piece| from + (piece as f64 + 0.5) * length).collect();
    (middles, counts)
}

fn halves(done: &[Done], seconds: f64) -> Vec<Vec<f64>> {
    (0..BACKENDS)
        .map(|place| pieces(done, place, (0.0, seconds), 0.5).1)
        .collect()
}

fn lines(mut picture: Picture, done: &[Done], span: (f64, f64), length: f64) -> Picture {
    for place in 0..BACKENDS {
        let (at, counts) = pieces(done, place, span, length);
        let rates: Vec<f64> = counts.iter().map(|count| count / length).collect();
        let line = Scatter::new(at, rates)
            .name(server_name(place))
            .mode(Mode::Lines)
            .line(Line::new().color(server_colour(place)));
        picture = picture.trace(line);
    }
    picture
        .x_axis(axis("seconds since the load began"))
        .y_axis(axis("connections/s").range_mode(RangeMode::ToZero))
}

fn loads(done: &[Done], moments: Moments, seconds: f64) -> Picture {
    let rate = |from: f64, until: f64| {
        let (_, counts) = pieces(done, 0, (from, until), until - from);
        counts.first().copied().unwrap_or(f64::NAN) / (until - from)
    };
    let picture = lines(
        Picture::new("Connections of each backend"),
        done,
        (0.0, seconds),
        seconds / 72.0,
    );
    picture
        .mark(moments.killed, "killed")
        .mark(moments.started_again, "started again")
        .caption(&format!(
            "{} stands still from {:.1} s to {:.1} s. Each of the others goes from {:.0} to {:.0} connections a second meanwhile, and \
             back to {:.0}.",
            server_name(KILLED),
            moments.killed,
            moments.served_again,
            rate(0.5, moments.killed),
            rate(moments.marked_down, moments.started_again),
            rate(moments.served_again, seconds - 0.5),
        ))
}

fn close(done: &[Done], counts: &Counts, moments: Moments) -> Picture {
    let span = (
        moments.killed - CLOSE_SECONDS / 2.0,
        moments.killed + CLOSE_SECONDS / 2.0,
    );
    let title = format!("Around the kill, {CLOSE_SECONDS} s");
    let picture = lines(Picture::new(&title), done, span, CLOSE_SECONDS / 30.0);
    picture
        .mark(moments.killed, "killed")
        .mark(moments.marked_down, "marked down")
        .caption(&format!(
            "lb marked it down {:.0} ms after the kill; till then {} failed and went to another backend, and {} of {} connections \
             were lost. With it died {} that it had already taken.",
            1000.0 * (moments.marked_down - moments.killed),
            counted(counts.redispatched, "connect"),
            counts.lost,
            grouped(counts.accepted as f64),
            counted(counts.died, "connection")
        ))
}

fn figures(moments: Moments, counts: &Counts) -> lb::page::Table {
    let row = |what: &str, figure: String| vec![what.to_owned(), figure];
    let pause = |from: f64, until: f64| format!("{:.0} ms", 1000.0 * (until - from));
    let rows = vec![
        row("connections that lb accepted", grouped(counts.accepted as f64)),
        row(
            "connections that lb could not place (required: 0)",
            counts.lost.to_string(),
        ),
        row("connections that died with their backend", counts.died.to_string()),
        row("failed requests, as the client counts", grouped(counts.failed_requests)),
        row(
            "connects that failed and went to another backend",
            counts.redispatched.to_string(),
        ),
        row(
            "from the kill to marked down",
            pause(moments.killed, moments.marked_down),
        ),
        row(
            "from started again to marked up",
            pause(moments.started_again, moments.marked_up),
        ),
        row(
            "from started again to the end of its first connection",
            pause(moments.started_again, moments.served_again),
        ),
    ];
    table("", &[], rows)
}
