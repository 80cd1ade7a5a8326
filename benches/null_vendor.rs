//! A vendor that does nothing but answer, as cheaply as one thread can: the stand-in that must never be the bottleneck.
//!
//! It runs in a process of its own, so that its CPU is not counted with anybody's. The path begins with the delay of its
//! answers: `/d0/…`, `/d20/…`. It takes what it is sent without reading more than it must: it proves nothing but speed.
//! `/reset`, `/stats`, `/log` and `/echoes` are for the benchmark.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{ErrorKind, Read as _, Write as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use memchr::memmem;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use crate::{http, machine::now_us};

const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1024;
const READ_BYTES: usize = 64 * 1024;

/// The id of the message with this number, from 1: as long as the one in the documents of sobot.in and sobot.io.
pub fn wamid(number: u64) -> String {
    format!("{WAMID_HEAD}{number:024X}{WAMID_TAIL}")
}

/// The same for Exotel.
pub fn sid(number: u64) -> String {
    format!("{SID_HEAD}{number:021X}{SID_TAIL}")
}

const WAMID_HEAD: &str = "wamid.HBgMOTE5OTcwNTg1NTU2FQIAERgS";
const WAMID_TAIL: &str = "AA==";
const SID_HEAD: &str = "2FdiiE";
const SID_TAIL: &str = "16a4";

/// Serves until its standard input ends, which the kernel does when the benchmark is gone. Prints its port.
pub fn run() -> Result<()> {
    let poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("{}", listener.local_addr()?.port());
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut server = Server::new(poll, listener);
    let mut events = Events::with_capacity(EVENTS);
    loop {
        let timeout = server.delayed.until_next();
        match server.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                server.accept()?;
            } else {
                server.serve(event.token().0, event.is_writable());
            }
        }
        while let Some(number) = server.delayed.due() {
            server.flush(number);
        }
    }
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    delayed: Delayed,
    vendor: Vendor,
    chunk: Box<[u8]>,
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    answer: Vec<u8>,
}

impl Server {
    fn new(poll: Poll, listener: TcpListener) -> Self {
        Self {
            poll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            delayed: Delayed::default(),
            vendor: Vendor::new(),
            chunk: vec![0; READ_BYTES].into_boxed_slice(),
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("accept"),
            };
            let _ = stream.set_nodelay(true);
            let number = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(number), interest)?;
            self.connections[number] = Some(Connection { stream, received: Vec::new(), answer: Vec::new() });
        }
    }

    fn serve(&mut self, number: usize, is_writable: bool) {
        let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) else { return };
        let is_open = read_all(connection, &mut self.chunk);
        let mut delay_ms = 0;
        let mut taken = 0;
        while let Some(message) = http::message(&connection.received[taken..]) {
            let request = &connection.received[taken..taken + message.end];
            delay_ms = self.vendor.answer(request, message.body_at, &mut connection.answer);
            taken += message.end;
        }
        connection.received.drain(..taken);
        if !is_open {
            self.close(number);
        } else if taken > 0 && delay_ms > 0 {
            self.delayed.push(delay_ms, number);
        } else if taken > 0 || is_writable && !connection.answer.is_empty() && !self.delayed.holds(number) {
            self.flush(number);
        }
    }

    /// Writes what is ready; the rest goes out when the connection can take more.
    fn flush(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) else { return };
        while !connection.answer.is_empty() {
            match connection.stream.write(&connection.answer) {
                Ok(written) if written == connection.answer.len() => connection.answer.clear(),
                Ok(written) => drop(connection.answer.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.close(number),
            }
        }
    }

    fn close(&mut self, number: usize) {
        self.connections[number] = None;
        self.free.push(number);
    }
}

/// Reads what is there; false when the other end has closed. A read that does not fill the buffer has emptied the socket.
fn read_all(connection: &mut Connection, chunk: &mut [u8]) -> bool {
    loop {
        match connection.stream.read(chunk) {
            Ok(0) => return false,
            Ok(read) => {
                connection.received.extend_from_slice(&chunk[..read]);
                if read < chunk.len() {
                    return true;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
}

/// Answers that wait, in the order in which they are due: one queue for each delay.
#[derive(Default)]
struct Delayed {
    queues: Vec<(u64, VecDeque<(u64, usize)>)>,
}

impl Delayed {
    fn push(&mut self, delay_ms: u64, number: usize) {
        let due = now_us() + delay_ms * 1000;
        match self.queues.iter_mut().find(|(delay, _)| *delay == delay_ms) {
            Some((_, queue)) => queue.push_back((due, number)),
            None => self.queues.push((delay_ms, VecDeque::from([(due, number)]))),
        }
    }

    fn holds(&self, number: usize) -> bool {
        self.queues.iter().any(|(_, queue)| queue.iter().any(|(_, held)| *held == number))
    }

    fn until_next(&self) -> Option<Duration> {
        let due = self.queues.iter().filter_map(|(_, queue)| queue.front()).map(|(due, _)| *due).min()?;
        Some(Duration::from_micros(due.saturating_sub(now_us())))
    }

    fn due(&mut self) -> Option<usize> {
        let now = now_us();
        let queue =
            self.queues.iter_mut().find(|(_, queue)| queue.front().is_some_and(|(due, _)| *due <= now));
        queue.and_then(|(_, queue)| queue.pop_front()).map(|(_, number)| number)
    }
}

/// What it counts and answers.
struct Vendor {
    /// Of the last id that was given.
    number: u64,
    requests: u64,
    messages: u64,
    first_us: u64,
    /// Of the last request to send, head and body.
    sample: Vec<u8>,
    is_logging: bool,
    log: String,
    echoes: String,
    of_echo: memmem::Finder<'static>,
}

impl Vendor {
    fn new() -> Self {
        Self {
            number: 0,
            requests: 0,
            messages: 0,
            first_us: 0,
            sample: Vec::new(),
            is_logging: false,
            log: String::new(),
            echoes: String::new(),
            of_echo: memmem::Finder::new("\"custom_data\":\""),
        }
    }

    /// Appends the answer, and says after how many milliseconds it may go.
    fn answer(&mut self, request: &[u8], body_at: usize, answer: &mut Vec<u8>) -> u64 {
        let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let (delay_ms, path) = delay(path);
        let body = &request[body_at..];
        if path.starts_with(b"/message/") {
            self.count(1, request, body);
            self.number += 1;
            put(
                answer,
                &single(
                    &["{\"data\":{\"id\":\"", WAMID_HEAD],
                    self.number,
                    24,
                    &[
                        WAMID_TAIL,
                        "\",\"status\":\"submitted\"},\"message\":\"Message sent successfully.\",\"code\":200}",
                    ],
                ),
            );
        } else if path.ends_with(b"/messages") {
            let count = self.of_echo.find_iter(body).count() as u64;
            self.count(count, request, body);
            put(answer, &self.batch(count));
        } else if path.ends_with(b"/forword") {
            self.count(1, request, body);
            self.number += 1;
            put(
                answer,
                &single(
                    &[
                        "{\"ret_code\":\"000000\",\"ret_msg\":\"\",\"item\":{\"messaging_product\":\"whatsapp\",\"messages\":[{\"id\":\"",
                        WAMID_HEAD,
                    ],
                    self.number,
                    24,
                    &[WAMID_TAIL, "\"}]}}"],
                ),
            );
        } else if path.starts_with(b"/api/get_token") {
            put(answer, b"{\"ret_code\":\"000000\",\"ret_msg\":\"\",\"item\":{\"token\":\"benchmark\",\"expires_in\":\"86400\"}}");
        } else {
            put(answer, self.control(path).as_bytes());
        }
        delay_ms
    }

    fn count(&mut self, messages: u64, request: &[u8], body: &[u8]) {
        let now = now_us();
        if self.requests == 0 {
            self.first_us = now;
            self.sample = request.to_vec();
        }
        self.requests += 1;
        self.messages += messages;
        if self.is_logging {
            let from = text_after(body, b"\"from\":\"");
            let _ = writeln!(self.log, "{now} {messages} {from}");
            for at in self.of_echo.find_iter(body) {
                self.echoes.push_str(text_after(&body[at..], b"\"custom_data\":\""));
                self.echoes.push('\n');
            }
        }
    }

    fn batch(&mut self, count: u64) -> Vec<u8> {
        const PER_ITEM: usize = 128;
        let mut body = Vec::with_capacity(usize::try_from(count).unwrap_or(0) * PER_ITEM + PER_ITEM);
        body.extend_from_slice(b"{\"request_id\":\"benchmark\",\"method\":\"POST\",\"http_code\":207,\"response\":{\"whatsapp\":{\"messages\":[");
        for i in 0..count {
            if i > 0 {
                body.push(b',');
            }
            self.number += 1;
            body.extend_from_slice(
                b"{\"code\":202,\"error_data\":null,\"status\":\"success\",\"data\":{\"sid\":\"",
            );
            body.extend_from_slice(SID_HEAD.as_bytes());
            put_hex(&mut body, self.number, 21);
            body.extend_from_slice(SID_TAIL.as_bytes());
            body.extend_from_slice(b"\"}}");
        }
        body.extend_from_slice(b"]}}}");
        body
    }

    fn control(&mut self, path: &[u8]) -> String {
        match path {
            b"/reset" | b"/reset-and-log" => {
                let number = self.number;
                *self = Self { number, is_logging: path == b"/reset-and-log", ..Self::new() };
                "{}".to_owned()
            }
            b"/stats" => serde_json::json!({
                "requests": self.requests,
                "messages": self.messages,
                "last_number": self.number,
                "first_us": self.first_us,
                "sample": String::from_utf8_lossy(&self.sample),
            })
            .to_string(),
            b"/log" => self.log.clone(),
            b"/echoes" => self.echoes.clone(),
            _ => "{\"data\":[],\"ret_code\":\"000000\",\"items\":[]}".to_owned(),
        }
    }
}

/// `/d20/message/` asks for 20 ms.
fn delay(path: &[u8]) -> (u64, &[u8]) {
    let Some(rest) = path.strip_prefix(b"/d") else { return (0, path) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = rest.split_at(digits);
    (number.iter().fold(0, |delay, digit| delay * 10 + u64::from(digit - b'0')), rest)
}

fn text_after<'a>(body: &'a [u8], key: &[u8]) -> &'a str {
    let Some(at) = memmem::find(body, key) else { return "" };
    let rest = &body[at + key.len()..];
    let end = memchr::memchr(b'"', rest).unwrap_or(0);
    str::from_utf8(&rest[..end]).unwrap_or_default()
}

fn single(before: &[&str], number: u64, width: usize, after: &[&str]) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    before.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
    put_hex(&mut body, number, width);
    after.iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
    body
}

fn put_hex(body: &mut Vec<u8>, number: u64, width: usize) {
    let start = body.len();
    body.resize(start + width, b'0');
    let mut rest = number;
    for digit in body[start..].iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(rest & 15) as usize];
        rest >>= 4;
    }
}

fn put(answer: &mut Vec<u8>, body: &[u8]) {
    let _ = write!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    answer.extend_from_slice(body);
}
