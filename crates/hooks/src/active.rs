//! The points of a test's build.
//!
//! The variable [`FOLDER`] names a folder. A file in it that is named like a point arms it: `kill 3` has the process kill
//! itself by SIGKILL when it passes the point for the third time since, `stop 1` has whoever passes wait while all others
//! go on, `panic 1` has it panic. A point acts once: its file is first renamed to `NAME.hit`, which tells the test, and a
//! process that is started again is not ended again. Who stopped goes on when `NAME.hit` is removed.
//! Files with a number set what would take a test too long otherwise: `lease_seconds`, `call_timeout_seconds`.
//! The file `clock_offset_ms` moves the daemon's clock, forwards or back.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::getpid,
};

/// Names the folder with the files that arm points.
const FOLDER: &str = "TEST_HOOKS_FOLDER";
/// Between two looks whether a stopped point is let go on.
const LOOK: Duration = Duration::from_millis(5);
/// Between two looks at the clock's offset.
const CLOCK_LOOK: Duration = Duration::from_millis(20);

fn folder() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| std::env::var_os(FOLDER).map(PathBuf::from)).as_deref()
}

enum Action {
    Kill,
    Stop,
    Panic,
}

/// Passes the point.
pub async fn pass(name: &str) {
    let Some(folder) = folder() else { return };
    match due(folder, name) {
        None => {}
        Some(Action::Kill) => die(),
        Some(Action::Panic) => panic!("the test hook {name} panics"),
        Some(Action::Stop) => {
            let hit = hit(folder, name);
            while hit.exists() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// What is to happen at this passing, if anything is.
fn due(folder: &Path, name: &str) -> Option<Action> {
    /// How often each point was passed since its present file was written.
    static PASSED: Mutex<Option<HashMap<String, (Written, u32)>>> = Mutex::new(None);
    let file = folder.join(name);
    let (written, text) = read(&file)?;
    let mut words = text.split_whitespace();
    let action = match words.next()? {
        "kill" => Action::Kill,
        "stop" => Action::Stop,
        "panic" => Action::Panic,
        other => {
            eprintln!("the test hook {name} is armed with `{other}`: kill, stop and panic are known");
            return None;
        }
    };
    let at: u32 = words.next()?.parse().ok()?;
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let count = passed.get_or_insert_default().entry(name.to_owned()).or_insert((written, 0));
    *count = if count.0 == written { (written, count.1 + 1) } else { (written, 1) };
    // The rename decides, should the test disarm the point at the same instant.
    (count.1 >= at && fs::rename(&file, hit(folder, name)).is_ok()).then_some(action)
}

/// Tells one writing of a file from the next: its inode, and when it was written.
type Written = (u64, i64, i64);

fn read(file: &Path) -> Option<(Written, String)> {
    let mut opened = fs::File::open(file).ok()?;
    let metadata = opened.metadata().ok()?;
    let written = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
    Some((written, io::read_to_string(&mut opened).ok()?))
}

fn hit(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.hit"))
}

/// As the kernel's memory killer would: no destructor runs, nothing is flushed.
fn die() -> ! {
    let _ = kill(getpid(), Signal::SIGKILL);
    loop {
        std::thread::park();
    }
}

/// What is to be added to the daemon's clock, in milliseconds.
#[must_use]
pub fn clock_offset_ms() -> i64 {
    static KNOWN: Mutex<Option<(Instant, i64)>> = Mutex::new(None);
    let Some(folder) = folder() else { return 0 };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match *known {
        Some((looked, offset)) if looked.elapsed() < CLOCK_LOOK => offset,
        _ => {
            let text = fs::read_to_string(folder.join("clock_offset_ms")).unwrap_or_default();
            let offset = text.trim().parse().unwrap_or(0);
            *known = Some((Instant::now(), offset));
            offset
        }
    }
}

/// The number in the file of this name.
#[must_use]
pub fn setting(name: &str) -> Option<f64> {
    fs::read_to_string(folder()?.join(name)).ok()?.trim().parse().ok()
}
