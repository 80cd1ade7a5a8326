//! Points at which the daemon ends or stops, and its clock's offset: for builds with the feature `test-hooks`.
//!
//! A point acts once, at its n-th passing from now on, in whichever process of the node passes it. The names stand where
//! the program says `hooks::point!`.

use std::{fs, os::unix::process::ExitStatusExt as _, path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;

use super::{World, daemon::Daemon, wait_until};

impl Daemon {
    /// The folder that the process is told of.
    pub fn hooks_folder(&self) -> PathBuf {
        self.config_file().with_file_name("hooks")
    }

    /// The process kills itself by SIGKILL when it passes `point` for the `nth` time.
    pub fn kill_at(&self, point: &str, nth: u32) {
        self.arm(point, &format!("kill {nth}"));
    }

    /// Whoever passes `point` for the `nth` time waits there until `let_go`; all others go on.
    pub fn stop_at(&self, point: &str, nth: u32) {
        self.arm(point, &format!("stop {nth}"));
    }

    /// Whoever passes `point` for the `nth` time panics there.
    pub fn panic_at(&self, point: &str, nth: u32) {
        self.arm(point, &format!("panic {nth}"));
    }

    /// Forgets a point, whether it acted or not.
    pub fn disarm(&self, point: &str) {
        let _ = fs::remove_file(self.hooks_folder().join(point));
        self.let_go(point);
    }

    /// Who stopped at `point` goes on.
    pub fn let_go(&self, point: &str) {
        let _ = fs::remove_file(self.hooks_folder().join(format!("{point}.hit")));
    }

    /// Whether `point` has acted since it was armed.
    pub fn was_at(&self, point: &str) -> bool {
        self.hooks_folder().join(format!("{point}.hit")).exists()
    }

    /// The daemon's clock is that of the machine plus so many milliseconds, from within 20 ms on.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.write("clock_offset_ms", &offset_ms.to_string());
    }

    /// The node's leases last so long, from its next start on.
    pub fn set_lease_seconds(&self, seconds: u32) {
        self.write("lease_seconds", &seconds.to_string());
    }

    /// The node's calls may take so long, from its next start on.
    pub fn set_call_timeout_seconds(&self, seconds: u32) {
        self.write("call_timeout_seconds", &seconds.to_string());
    }

    /// Waits until the process has killed itself at `point`; it can be started again then.
    pub async fn died_at(&mut self, point: &str, deadline: Duration) {
        let status =
            wait_until(&format!("the daemon dies at {point}"), deadline, async || self.ended()).await;
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "the daemon ended by itself: {status}");
        assert!(self.was_at(point), "the daemon was killed elsewhere than at {point}");
        self.kill9();
        self.disarm(point);
    }

    fn arm(&self, point: &str, action: &str) {
        self.disarm(point);
        self.write(point, action);
    }

    /// Whole or not at all: the process may look at any instant.
    fn write(&self, name: &str, text: &str) {
        if !cfg!(feature = "test-hooks") {
            panic!("this test needs --features test-hooks, as `make test` has it");
        }
        let folder = self.hooks_folder();
        fs::create_dir_all(&folder).unwrap();
        let written = folder.join(format!("{name}.new"));
        fs::write(&written, text).unwrap();
        fs::rename(written, folder.join(name)).unwrap();
    }
}

impl World {
    /// Moves the first node's clock to about this instant, written as in RFC 3339.
    #[expect(
        clippy::disallowed_methods,
        reason = "the machine's time is what the daemon's clock is moved from"
    )]
    pub fn set_clock(&mut self, to: &str) {
        let to: DateTime<Utc> = to.parse().unwrap();
        self.daemon().set_clock_offset_ms((to - Utc::now()).num_milliseconds());
    }

    /// The first node kills itself when it passes `point` for the `nth` time.
    pub fn kill_at(&mut self, point: &str, nth: u32) {
        self.daemon().kill_at(point, nth);
    }

    /// Waits until the first node has killed itself at `point`.
    pub async fn died_at(&mut self, point: &str, deadline: Duration) {
        self.daemon().died_at(point, deadline).await;
    }
}
