//! Helpers that this benchmark runs as processes of their own, so that their CPU is not counted with anybody's: the same
//! binary with a role for its first argument. Each is ended by its id when its handle is dropped.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{callback_load, group_commit, http, null_vendor, reference, world};

/// The first argument of such a process; the role follows it.
const ROLE: &str = "--as";

/// Plays the role that the arguments name, where they name one.
pub fn play(arguments: &[String]) -> Option<Result<()>> {
    let [first, role, rest @ ..] = arguments else { return None };
    let how = rest.first().map_or("{}", String::as_str);
    (first == ROLE).then(|| match role.as_str() {
        "daemon" => world::keep(how),
        "null-vendor" => null_vendor::run(),
        "vendors-client" => reference::run_vendors_client(how),
        "bare-client" => reference::run_bare_client(how),
        "callbacks" => callback_load::run(how),
        "group-commit" => group_commit::run(how),
        _ => anyhow::bail!("there is no role `{role}`"),
    })
}

/// A command that plays a role.
pub fn role(name: &str, how: &impl Serialize) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([ROLE, name]).arg(serde_json::to_string(how)?);
    Ok(command)
}

/// Plays a role to its end, and reads the JSON that it prints.
pub fn played<T: DeserializeOwned>(name: &str, how: &impl Serialize) -> Result<T> {
    let output = role(name, how)?.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the process `{name}` failed");
    serde_json::from_slice(&output.stdout).with_context(|| format!("what `{name}` printed"))
}

/// A role that goes on until its handle is dropped, and that listens on a port of its own.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts it. It ends with us: its standard input does.
    pub fn start(name: &str, how: &impl Serialize) -> Result<Self> {
        let mut child = role(name, how)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        let port: u16 = line.trim().parse().with_context(|| format!("the port of `{name}`"))?;
        Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The body of one of its pages.
    pub fn get(&self, path: &str) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: benchmark\r\n\r\n")?;
        let (mut received, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
        loop {
            // Looking for the end only when something came: a long answer is searched few times.
            let read = stream.read(&mut chunk)?;
            ensure!(read > 0, "the answer to {path} broke off");
            received.extend_from_slice(&chunk[..read]);
            if let Some(message) = http::message(&received) {
                return Ok(received[message.body_at..message.end].to_vec());
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the null vendor counted since it was told to forget.
#[derive(Clone, Debug, Deserialize)]
pub struct Counted {
    /// Calls to send.
    pub requests: u64,
    /// Messages in them.
    pub messages: u64,
    /// The number of the last id that it gave, ever.
    pub last_number: u64,
    /// When the first call came.
    pub first_us: u64,
    /// The first call.
    pub sample: String,
}

/// The null vendor.
pub struct NullVendor(pub Server);

impl NullVendor {
    /// Starts it.
    pub fn start() -> Result<Self> {
        Ok(Self(Server::start("null-vendor", &())?))
    }

    /// Starts it before all others in the queue for a core, where we may: its clock must not wait for one.
    pub fn start_first_in_line() -> Result<Self> {
        let vendor = Self::start()?;
        let mut renice = Command::new("renice");
        renice.args(["-n", "-15", "-p", &vendor.0.pid().to_string()]);
        let status = renice.stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("the null vendor may not go first: on a busy machine, calls look later than they came");
        }
        Ok(vendor)
    }

    /// Its base URL for answers that take so long.
    pub fn base_url(&self, delay_ms: u64) -> String {
        format!("{}/d{delay_ms}", self.0.url())
    }

    /// Counts from zero again; with `log`, keeps when each call came and what it echoes.
    pub fn reset(&self, log: bool) -> Result<()> {
        self.0.get(if log { "/reset-and-log" } else { "/reset" }).map(drop)
    }

    /// What it has counted.
    pub fn counted(&self) -> Result<Counted> {
        Ok(serde_json::from_slice(&self.0.get("/stats")?)?)
    }
}
