//! The daemon's process: started, signalled and ended by its id; its log is shown when a test fails.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_campaignd");

/// The program: the one of this build, unless `TEST_PROGRAM` names another, such as a copy that no build replaces.
fn program() -> OsString {
    std::env::var_os("TEST_PROGRAM").unwrap_or_else(|| PROGRAM.into())
}

/// An administrator's token for every daemon of a test.
pub const TOKEN: &str = "the-administrators-token-of-tests";
/// How much of the log is shown.
const SHOWN_LINES: usize = 150;

/// One daemon: its configuration, and its process while it runs.
#[derive(Debug)]
pub struct Daemon {
    folder: PathBuf,
    port: u16,
    environment: Vec<(String, String)>,
    /// How often it was started: each start has its own log.
    starts: usize,
    child: Option<Child>,
}

impl Daemon {
    /// A daemon that has not been started; `folder` is its own and exists.
    pub fn new(folder: PathBuf, port: u16, config: &str, environment: Vec<(String, String)>) -> Self {
        let daemon = Self { folder, port, environment, starts: 0, child: None };
        fs::write(daemon.config_file(), config).unwrap();
        daemon
    }

    /// Sets a variable of its environment, from its next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Where its interface is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its `campaignd.toml`.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("campaignd.toml")
    }

    /// Any command of the program, with this daemon's configuration and address.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CAMPAIGND_")) {
            command.env_remove(name);
        }
        command.env_remove("DATABASE_URL").env_remove("RUST_LOG").env("CAMPAIGND_ADMIN_TOKEN", TOKEN);
        command.env("CAMPAIGND_URL", self.url()).env("CAMPAIGND_TOKEN", TOKEN);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--config").arg(self.config_file()).args(arguments);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts the process; it need not answer yet.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the daemon runs already");
        self.starts += 1;
        let log = File::create(self.log_file(self.starts)).unwrap();
        let mut command = self.command(&["serve"]);
        command.stdout(log.try_clone().unwrap()).stderr(log).env("TEST_HOOKS_FOLDER", self.hooks_folder());
        self.child = Some(command.spawn().unwrap());
    }

    /// How it ended, when it has by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().expect("the daemon runs");
        kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let status = self.wait(deadline);
        status.unwrap_or_else(|| panic!("the daemon has not stopped within {deadline:?} of SIGTERM"))
    }

    /// SIGKILL, as the kernel's memory killer or a power cut would.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended a moment before.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file(self.starts)).unwrap_or_default()
    }

    fn log_file(&self, start: usize) -> PathBuf {
        self.folder.join(format!("log-{start}.txt"))
    }

    fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < deadline {
            if let Some(status) = self.ended() {
                self.child = None;
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn show_logs(&self) {
        for start in 1..=self.starts {
            let log = fs::read_to_string(self.log_file(start)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(SHOWN_LINES);
            eprintln!("--- log of the daemon at {}, start {start}, from line {}:", self.url(), from + 1);
            for line in &lines[from..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.is_some() && self.has_private_cluster() {
            // Its database ends with it, in order.
            self.signal(Signal::SIGTERM);
            self.wait(Duration::from_secs(10));
        }
        self.kill9();
        if std::thread::panicking() {
            self.show_logs();
        }
    }
}

impl Daemon {
    fn has_private_cluster(&self) -> bool {
        fs::read_to_string(self.config_file()).is_ok_and(|config| !config.contains("\nurl = "))
    }
}

/// A port that is free now and that the kernel gives to nobody by itself, so that it is still free after a restart.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() * 37 % 20_000).unwrap();
    for _ in 0..1_000 {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port above {first} is free");
}

/// A folder for one daemon below the world's.
pub fn folder(below: &Path, number: usize) -> PathBuf {
    let folder = below.join(format!("node-{number}"));
    fs::create_dir(&folder).unwrap();
    folder
}
