//! The cheapest HTTP client that keeps so many connections busy: one thread, no parsing but of an answer's end.
//!
//! It is what a reference is measured with, and what posts callbacks. Each connection has one request in the air.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
};

use anyhow::{Result, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{http, machine::now_us};

const EVENTS: usize = 1024;
const READ_BYTES: usize = 64 * 1024;

/// What came of a run.
pub struct Outcome {
    /// From the first request to the last answer.
    pub elapsed_us: u64,
    /// Of every call, in no order.
    pub latencies_us: Vec<u32>,
    /// Answers that were no success.
    pub refused: u64,
}

impl Outcome {
    /// The latency that so many in a hundred do not exceed.
    pub fn percentile_us(&mut self, percent: f64) -> f64 {
        self.latencies_us.sort_unstable();
        let last = self.latencies_us.len().saturating_sub(1) as f64;
        self.latencies_us.get((last * percent / 100.0).round() as usize).copied().map_or(0.0, f64::from)
    }
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    written: usize,
    received: Vec<u8>,
    sent_us: u64,
    is_busy: bool,
}

/// Makes `total` calls over `connections` connections; `next` appends the request with the number that it is given.
pub fn run(
    address: SocketAddr,
    connections: usize,
    total: u64,
    mut next: impl FnMut(u64, &mut Vec<u8>),
) -> Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut open = connect(&poll, address, connections)?;
    let mut events = Events::with_capacity(EVENTS);
    let mut chunk = vec![0; READ_BYTES];
    let mut outcome = Outcome { elapsed_us: 0, latencies_us: Vec::with_capacity(total as usize), refused: 0 };
    let (mut begun, mut ended) = (0, 0);
    let start = now_us();
    while ended < total {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            let connection = &mut open[event.token().0];
            if connection.is_busy && event.is_readable() && connection.read(&mut chunk)? {
                ended += 1;
                let answered = now_us();
                outcome.latencies_us.push(u32::try_from(answered - connection.sent_us).unwrap_or(u32::MAX));
                outcome.refused += u64::from(!http::is_success(&connection.received));
                connection.received.clear();
                connection.is_busy = false;
            }
            if !connection.is_busy && begun < total {
                connection.request.clear();
                next(begun, &mut connection.request);
                begun += 1;
                connection.is_busy = true;
                connection.written = 0;
                connection.sent_us = now_us();
            }
            connection.write()?;
        }
    }
    outcome.elapsed_us = now_us() - start;
    Ok(outcome)
}

fn connect(poll: &Poll, address: SocketAddr, connections: usize) -> Result<Vec<Connection>> {
    let mut open = Vec::new();
    for number in 0..connections {
        // Connected before it is watched, so that the first event is that it can be written to.
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let (request, received) = (Vec::new(), Vec::new());
        open.push(Connection { stream, request, written: 0, received, sent_us: 0, is_busy: false });
    }
    Ok(open)
}

impl Connection {
    /// Whether a whole answer has come.
    fn read(&mut self, chunk: &mut [u8]) -> Result<bool> {
        loop {
            match self.stream.read(chunk) {
                Ok(read) => {
                    ensure!(read > 0, "the server closed a connection");
                    self.received.extend_from_slice(&chunk[..read]);
                    if read < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(http::message(&self.received).is_some())
    }

    fn write(&mut self) -> Result<()> {
        while self.is_busy && self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
