//! What is measured: the load of each row, and how many workers and backends the balancer has for it.

use crate::contender::{Contender, Kind};

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// Each connection sends its next request when the answer is there.
    Closed {
        conns: usize,
        request_bytes: usize,
        reply_bytes: usize,
    },
    /// A new connection for each request.
    Short { conns: usize },
    /// Requests are due at even distances, whether earlier ones are back or not.
    Open { conns: usize },
    /// Connections that have moved 1 KiB each way, and rest.
    Idle { conns: usize },
}

/// What the balancer's processor time is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Per {
    Request,
    Gigabyte,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) load: Load,
    pub(crate) per: Per,
    /// Worker threads or processes of the balancer; with as many as there are cores nobody is pinned.
    pub(crate) workers: usize,
    pub(crate) backends: usize,
    pub(crate) rounds_max: usize,
    /// Whether it belongs to the scaling of lb, not to the comparison.
    pub(crate) is_scaling: bool,
    /// Whether only lb takes part.
    pub(crate) is_alone: bool,
}

impl Case {
    pub(crate) fn request_response(id: &str, conns: usize, bytes: usize) -> Self {
        let load = Load::Closed {
            conns,
            request_bytes: bytes,
            reply_bytes: bytes,
        };
        let s = if conns == 1 { "" } else { "s" };
        Self::new(
            id,
            &format!("request/response, {conns} connection{s} x {bytes} B"),
            load,
        )
    }

    fn new(id: &str, title: &str, load: Load) -> Self {
        let per = match load {
            Load::Closed {
                request_bytes,
                reply_bytes,
                ..
            } if request_bytes.max(reply_bytes) >= 65_536 => Per::Gigabyte,
            _ => Per::Request,
        };
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            load,
            per,
            workers: 1,
            backends: 3,
            rounds_max: usize::MAX,
            is_scaling: false,
            is_alone: false,
        }
    }

    fn bulk(id: &str, title: &str, request_bytes: usize, reply_bytes: usize) -> Self {
        let load = Load::Closed {
            conns: 8,
            request_bytes,
            reply_bytes,
        };
        Self::new(id, title, load)
    }

    fn scaling(self, id: &str, title: String, change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self {
            id: id.to_owned(),
            title,
            rounds_max: 3,
            is_scaling: true,
            ..self
        };
        change(&mut case);
        case
    }

    /// Splicing is for bulk; with little bytes it is the same program with another name.
    pub(crate) fn admits(&self, contender: &Contender) -> bool {
        match &contender.kind {
            Kind::Haproxy { splices, .. } => !self.is_alone && (!splices || self.per == Per::Gigabyte),
            Kind::Direct => !self.is_alone && !matches!(self.load, Load::Idle { .. }),
            Kind::Nginx => !self.is_alone,
            Kind::Lb { .. } => true,
        }
    }
}

/// Every row; a quick look leaves out the scaling.
pub(crate) fn all(is_quick: bool) -> Vec<Case> {
    const CHUNK: usize = 65_536;
    let mut cases = vec![
        Case::request_response("rr-64", 64, 64),
        Case::request_response("rr-1000", 1000, 1024),
        Case::request_response("rr-1", 1, 64),
        Case::new("short", "short connections, 64 at a time", Load::Short { conns: 64 }),
        Case::bulk("bulk-up", "bulk to the backend, 8 connections x 64 KiB", CHUNK, 64),
        Case::bulk("bulk-down", "bulk to the client, 8 connections x 64 KiB", 64, CHUNK),
        Case::bulk("bulk-both", "bulk both ways, 8 connections x 64 KiB", CHUNK, CHUNK),
        Case::new(
            "open",
            "open loop at half of the capacity, 64 connections x 64 B",
            Load::Open { conns: 64 },
        ),
        Case::new("idle", "5,000 idle connections", Load::Idle { conns: 5000 }),
    ];
    if !is_quick {
        cases.extend(scaling());
    }
    cases
}

fn scaling() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, base) in [
        ("2w-rr-64", Case::request_response("", 64, 64)),
        ("2w-rr-1000", Case::request_response("", 1000, 1024)),
        (
            "2w-short",
            Case::new("", "short connections, 64 at a time", Load::Short { conns: 64 }),
        ),
        (
            "2w-bulk-both",
            Case::bulk("", "bulk both ways, 8 connections x 64 KiB", 65_536, 65_536),
        ),
    ] {
        let title = format!("2 workers: {}", base.title);
        cases.push(base.scaling(id, title, |case| case.workers = 2));
    }
    for conns in [10, 1000, 9500] {
        let base = Case::request_response("", conns, 64);
        let title = base.title.clone();
        cases.push(base.scaling(&format!("conns-{conns}"), title, |case| case.is_alone = true));
    }
    for backends in [3, 100, 1000] {
        let base = Case::new("", "", Load::Short { conns: 64 });
        let title = format!("short connections, {backends} backends");
        cases.push(base.scaling(&format!("backends-{backends}"), title, |case| {
            case.is_alone = true;
            case.backends = backends;
        }));
    }
    cases
}
