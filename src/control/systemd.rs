//! What systemd is told, where it started lb and wants to know: sd_notify(3). Nobody else is told anything.

use std::time::Duration;

use sd_notify::NotifyState;

/// lb serves.
pub(super) fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// The file is read again; [`tell_ready`] follows.
pub(super) fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => log::debug!("systemd: {error}"),
    }
}

/// lb stops.
pub(super) fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// From now on another process is the service.
pub(super) fn tell_main_process(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

/// lb lives.
pub(super) fn tell_alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Within what time systemd wants to hear that lb lives, if it does.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("systemd can't be told {state:?}: {error}");
    }
}
