//! For the fuzzer alone (`fuzz/`, `cfg(fuzzing)`): a connection to the admin port made of bytes. From hyper's parser on everything is
//! what a running lb has: the server's settings, the fence, the routes, the handlers, the board of a balancer that was started. Only
//! the commands end here.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::fence::{Fence, Source};
use super::handle::handle;
use super::hub::Hub;
use super::moving::Turn;
use super::serve::Port;
use super::state::State;
use super::tokens::Tokens;
use crate::config;
use crate::control::{self, Answer, Board, Command, Commander, Inherited, Refusal, RefusalKind, ReplicaNames};

/// Whoever was sent everything and nothing more comes has his answers, and is hung up on, within this.
const CONVERSATION_MAX: Duration = Duration::from_secs(4);
/// Who listens to events is let go after this.
const LISTENS_MAX: Duration = Duration::from_millis(20);
const SEATS: usize = 8;
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8000);
const LB_TOML: &str = "[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n[service.health]\nkind = \"off\"\n\
                       [[service.backend]]\nname = \"b\"\naddress = \"127.0.0.1:1\"\n";
const REFUSALS: [RefusalKind; 9] = [
    RefusalKind::UnknownService,
    RefusalKind::UnknownBackend,
    RefusalKind::NameTaken,
    RefusalKind::BadValue,
    RefusalKind::Limit,
    RefusalKind::BadConfig,
    RefusalKind::BadUpgrade,
    RefusalKind::Stopping,
    RefusalKind::Busy,
];

/// The admin port, without a socket.
pub struct Door {
    runtime: Runtime,
    board: Arc<Board>,
}

/// What came of a connection.
#[derive(Debug)]
pub struct Said {
    /// Every byte of the answers.
    pub answer: Vec<u8>,
    /// How often something was to be changed.
    pub orders: usize,
}

impl Door {
    /// Starts a balancer to ask, which lives as long as the process.
    ///
    /// # Errors
    /// It can't be started.
    pub fn open() -> Result<Self, String> {
        let config = config::parse("lb.toml", LB_TOML).map_err(|problems| problems.to_string())?;
        let running = control::start(&config, Path::new("lb.toml"), Inherited::default());
        let running = running.map_err(|error| error.to_string())?;
        let board = running.board();
        std::mem::forget(running);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        Ok(Self { runtime, board })
    }

    /// What bytes are answered by, from a client at 127.0.0.2. `tokens` is the text of a `token_file`; `refusal` says what becomes of
    /// commands.
    ///
    /// # Errors
    /// The connection isn't ended in time.
    pub fn ask(&self, bytes: &[u8], tokens: Option<&str>, refusal: u8) -> Result<Said, String> {
        let (commander, ordered) = Commander::idle().map_err(|error| error.to_string())?;
        let tokens = tokens.map(Tokens::parse).transpose().map_err(|(_, wrong)| wrong)?;
        let state = Rc::new(State {
            board: Arc::clone(&self.board),
            commander,
            fence: RefCell::new(Fence::new(Some(ADDRESS.into()), &[], tokens.map(Arc::new))),
            samples: RefCell::default(),
            hub: RefCell::new(Hub::new(SEATS)),
            processes: RefCell::default(),
        });
        state.samples.borrow_mut().add(&self.board.sample());
        let (_ours, turn) = watch::channel(Turn::Ours);
        let port = Port::new(SEATS, Arc::clone(self.board.counters()), turn);
        let source = Source::Ip(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
        let orders = Cell::new(0_usize);
        let conversation = async {
            let (near, far) = tokio::io::duplex(1 << 20);
            let asked = Rc::clone(&state);
            port.begin(near, move |request| handle(Rc::clone(&asked), source, request));
            let (mut read, mut write) = tokio::io::split(far);
            let mut answer = Vec::new();
            // It may be hung up on before it has said all.
            let said = write.write_all(bytes).await;
            drop(said.and(write.shutdown().await));
            let heard = read.read_to_end(&mut answer);
            let let_go = async {
                let never = std::future::pending::<()>();
                drop(tokio::time::timeout(LISTENS_MAX, never).await);
                state.hub.borrow_mut().end_all();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                heard = heard => drop(heard),
                () = let_go => {}
            }
            answer
        };
        let answering = async {
            loop {
                let more = ordered.answer(|command| self.outcome(&command, refusal), |_| replicas(refusal));
                orders.set(orders.get().saturating_add(more));
                tokio::task::yield_now().await;
            }
        };
        let bounded = async {
            tokio::select! {
                answer = tokio::time::timeout(CONVERSATION_MAX, conversation) => answer,
                () = answering => Ok(Vec::new()),
            }
        };
        let answer = LocalSet::new().block_on(&self.runtime, bounded);
        let answer = answer.map_err(|_| "the connection wasn't ended".to_owned())?;
        Ok(Said {
            answer,
            orders: orders.get(),
        })
    }

    fn outcome(&self, command: &Command, refusal: u8) -> control::Outcome {
        if let Some(kind) = REFUSALS.get(usize::from(refusal)) {
            return Err(Refusal::new(*kind, "no \"such\" \\ thing\n"));
        }
        let backend = self.board.backend("a", "b").flatten();
        let backend = backend.ok_or_else(|| Refusal::new(RefusalKind::UnknownBackend, "gone"))?;
        Ok(match (command, refusal % 2) {
            (Command::Reload, _) => Answer::Reloaded(vec!["nothing".to_owned()]),
            (Command::Upgrade, _) => Answer::Upgraded(1),
            (Command::Remove { .. }, 0) => Answer::Draining(backend),
            (Command::Remove { .. }, _) => Answer::Gone(backend),
            _ => Answer::Backend(backend),
        })
    }
}

fn replicas(refusal: u8) -> control::ReplicaOutcome {
    match REFUSALS.get(usize::from(refusal)) {
        Some(kind) => Err(Refusal::new(*kind, "no")),
        None => Ok(ReplicaNames {
            service: "a".to_owned(),
            names: vec!["a-1".to_owned()],
        }),
    }
}
