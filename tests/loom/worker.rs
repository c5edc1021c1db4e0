//! The slab of a worker (`src/worker/slab.rs`), whose keys are told outside and come back when their session may be gone.

#[allow(dead_code, reason = "what only the worker calls")]
#[path = "../../src/worker/slab.rs"]
mod slab;

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::Mutex;

use crate::types::SessionKey;
use slab::Slab;

/// By what an order finds its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finds {
    /// As lb does it.
    ByKey,
    /// Broken: by the slot, whoever has it now.
    ByIndex,
}

fn fill(slab: &mut Slab<char>, name: char) -> SessionKey {
    let key = slab.reserve().expect("room");
    slab.fill(key, name);
    key
}

/// An operator ends the session that was shown; meanwhile it ends by itself, and its slot gets another owner.
pub fn an_order_ends_its_own_session_or_none(finds: Finds) {
    let orders = Arc::new(Mutex::new(VecDeque::new()));
    let mut slab = Slab::new(u32::MAX); // the generation wraps around at the first end
    let shown = fill(&mut slab, 'a');
    let operator = {
        let orders = Arc::clone(&orders);
        loom::thread::spawn(move || orders.lock().unwrap().push_back(shown))
    };
    let obey = |slab: &mut Slab<char>| {
        let Some(key) = orders.lock().unwrap().pop_front() else {
            return;
        };
        let key = match finds {
            Finds::ByKey => key,
            Finds::ByIndex => {
                let now = slab.iter().find(|(now, _)| now.index == key.index);
                now.map_or(key, |(now, _)| now)
            }
        };
        assert_ne!(slab.remove(key), Some('b'), "an order for a ended b");
    };
    obey(&mut slab);
    slab.remove(shown); // a ends by itself, unless it was ended
    obey(&mut slab);
    let next = fill(&mut slab, 'b');
    assert_eq!(next.index, shown.index);
    obey(&mut slab);
    operator.join().unwrap();
    obey(&mut slab);
    assert_eq!((slab.get_mut(next).copied(), slab.count()), (Some('b'), 1));
}

/// Every row of so many steps: a new session, or any key ever told, to find or to end. None finds or ends another's session.
pub fn every_row_of_steps(steps: usize, generation: u32) -> usize {
    let mut rows = 0;
    let mut choices = vec![0_usize; steps];
    loop {
        let widths = row(&choices, generation);
        rows += 1;
        // The next row, as a number whose digits have these bounds.
        let Some(place) = (0..steps).rev().find(|place| choices[*place] + 1 < widths[*place]) else {
            return rows;
        };
        choices[place] += 1;
        choices[place + 1..].fill(0);
    }
}

/// One row; how many choices each step had.
fn row(choices: &[usize], generation: u32) -> Vec<usize> {
    let mut slab = Slab::new(generation);
    let mut told: Vec<(SessionKey, usize)> = Vec::new();
    let mut live: Vec<(SessionKey, usize)> = Vec::new();
    let mut widths = Vec::new();
    for (number, choice) in choices.iter().enumerate() {
        widths.push(1 + 2 * told.len());
        if *choice == 0 {
            let key = slab.reserve().expect("room");
            slab.fill(key, number);
            assert!(told.iter().all(|(other, _)| *other != key), "{key:?} was somebody's");
            told.push((key, number));
            live.push((key, number));
        } else {
            let (key, owner) = told[(choice - 1) / 2];
            let is_live = live.contains(&(key, owner));
            let wanted = is_live.then_some(owner);
            if choice % 2 == 0 {
                assert_eq!(slab.get_mut(key).copied(), wanted, "{key:?}");
            } else {
                assert_eq!(slab.remove(key), wanted, "{key:?}");
                live.retain(|other| *other != (key, owner));
            }
        }
        assert_eq!(slab.count(), live.len());
    }
    widths
}
