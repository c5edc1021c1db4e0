//! What the tasks of the admin thread share. One thread: cells, no locks.

use std::cell::RefCell;
use std::sync::Arc;

use super::fence::Fence;
use super::history::Samples;
use super::hub::Hub;
use super::processes::Processes;
use crate::api;
use crate::control::{Board, Commander};

/// What they share.
pub(super) struct State {
    pub(super) board: Arc<Board>,
    pub(super) commander: Commander,
    pub(super) fence: RefCell<Fence>,
    pub(super) samples: RefCell<Samples>,
    pub(super) hub: RefCell<Hub>,
    pub(super) processes: RefCell<Processes>,
}

impl State {
    /// Everything, with the figures of the backends' processes.
    pub(super) fn status(&self) -> api::Status {
        let mut status = self.board.status();
        let processes = self.processes.borrow();
        for service in &mut status.services {
            for backend in &mut service.backends {
                processes.fill(&service.name, backend);
            }
        }
        status
    }

    pub(super) fn service(&self, name: &str) -> Option<api::Service> {
        let mut service = self.board.service(name)?;
        let processes = self.processes.borrow();
        for backend in &mut service.backends {
            processes.fill(name, backend);
        }
        drop(processes);
        Some(service)
    }

    /// The outer `None`: no such service.
    pub(super) fn backend(&self, service: &str, name: &str) -> Option<Option<api::Backend>> {
        let mut found = self.board.backend(service, name)?;
        if let Some(backend) = &mut found {
            self.processes.borrow().fill(service, backend);
        }
        Some(found)
    }

    /// `GET /stats`.
    pub(super) fn flat(&self) -> Vec<api::FlatBackend> {
        let services = self.status().services;
        let flat = services.into_iter().flat_map(|service| {
            let name = service.name;
            service.backends.into_iter().map(move |backend| {
                let process = backend.process;
                api::FlatBackend {
                    service: name.clone(),
                    name: backend.name,
                    url: backend.address,
                    up: matches!(backend.state, api::BackendState::Up | api::BackendState::Starting),
                    requests: backend.connections.total,
                    latency: backend.health.latency_seconds,
                    cpu: process.and_then(|process| process.cpu_percent),
                    ram: process.and_then(|process| process.memory_bytes),
                    uptime: process.and_then(|process| process.uptime_seconds),
                }
            })
        });
        flat.collect()
    }
}
