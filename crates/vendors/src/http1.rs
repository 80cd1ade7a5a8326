//! One request and its answer on a connection, as HTTP/1.1 (RFC 9112) has it: what a call that sends needs, and no more.
//!
//! A general client spends more on a small POST than all else that is done for a message. This one writes the request as
//! one buffer, reads the answer into another, and is strict where being lenient could take one answer for another's: bytes
//! beyond an answer, a length said twice, an unknown coding all end the connection.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The head of an answer, at the most.
const HEAD_BYTES: usize = 32 * 1024;
/// Headers of an answer, at the most.
const HEADERS: usize = 96;
/// Interim answers (1xx) before the final one, at the most.
const INTERIM: usize = 8;
/// The room that is asked for at each read.
const READ_BYTES: usize = 8 * 1024;
/// A chunk's size line and the trailers after the last one, at the most.
const LINE_BYTES: usize = 4 * 1024;

/// A complete answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The header Retry-After, as it came.
    pub retry_after: Option<String>,
    pub body: Bytes,
    /// Another request may follow on the connection.
    pub is_reusable: bool,
}

/// Why there is no complete answer. The request may have left.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    NotHttp(&'static str),
    #[error("the answer is too large")]
    TooLarge,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

struct Head {
    status: u16,
    retry_after: Option<String>,
    framing: Framing,
    is_reusable: bool,
}

/// Writes `request` and reads at most `limit_bytes` of the answer's body; `unread` must be empty and is when all went well.
pub async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    unread: &mut BytesMut,
    limit_bytes: usize,
) -> Result<Answer, Broken> {
    stream.write_all(request).await?;
    stream.flush().await?;
    hooks::point!("call.written");
    let head = read_head(stream, unread).await?;
    let body = match head.framing {
        Framing::Length(length) if length > limit_bytes => return Err(Broken::TooLarge),
        Framing::Length(length) => {
            fill(stream, unread, length).await?;
            unread.split_to(length).freeze()
        }
        Framing::Chunked => read_chunks(stream, unread, limit_bytes).await?,
        Framing::UntilClosed => read_to_end(stream, unread, limit_bytes).await?,
    };
    let Head { status, retry_after, is_reusable, .. } = head;
    Ok(Answer { status, retry_after, body, is_reusable: is_reusable && unread.is_empty() })
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin), unread: &mut BytesMut) -> Result<Head, Broken> {
    for _ in 0..=INTERIM {
        let (head, length) = loop {
            if let Some(parsed) = parse_head(unread)? {
                break parsed;
            }
            if unread.len() > HEAD_BYTES {
                return Err(Broken::NotHttp("the head of the answer does not end"));
            }
            read_some(stream, unread).await?;
        };
        unread.advance(length);
        if !(100..200).contains(&head.status) {
            return Ok(head);
        }
    }
    Err(Broken::NotHttp("interim answers without a final one"))
}

/// The head and its length; none while it is not complete.
fn parse_head(unread: &[u8]) -> Result<Option<(Head, usize)>, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(unread) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Broken::NotHttp("the answer is not HTTP")),
    };
    let status = response.code.unwrap_or(0);
    let mut lengths = None;
    let mut is_chunked = false;
    let mut is_reusable = response.version == Some(1);
    let mut retry_after = None;
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or("").trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let said: usize =
                value.parse().map_err(|_| Broken::NotHttp("the answer's length is no number"))?;
            if lengths.replace(said).is_some_and(|other| other != said) {
                return Err(Broken::NotHttp("the answer has two lengths"));
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || !value.eq_ignore_ascii_case("chunked") {
                return Err(Broken::NotHttp("the answer comes in an unknown coding"));
            }
            is_chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            let mut options = value.split(',').map(str::trim);
            is_reusable &= !options.any(|option| option.eq_ignore_ascii_case("close"));
        } else if header.name.eq_ignore_ascii_case("retry-after") {
            retry_after = Some(value.to_owned());
        }
    }
    if status == 101 {
        return Err(Broken::NotHttp("the answer changes the protocol"));
    }
    let has_no_body = status < 200 || status == 204 || status == 304;
    let framing = match (has_no_body, is_chunked, lengths) {
        (true, ..) => Framing::Length(0),
        (_, true, _) => Framing::Chunked,
        (_, _, Some(length)) => Framing::Length(length),
        _ => Framing::UntilClosed,
    };
    // Both at once is how answers are smuggled: this one is read, and the connection ends.
    is_reusable &= framing != Framing::UntilClosed && !(is_chunked && lengths.is_some());
    Ok(Some((Head { status, retry_after, framing, is_reusable }, length)))
}

async fn read_chunks(
    stream: &mut (impl AsyncRead + Unpin),
    unread: &mut BytesMut,
    limit_bytes: usize,
) -> Result<Bytes, Broken> {
    let mut body = BytesMut::new();
    loop {
        let (line, size) = loop {
            match httparse::parse_chunk_size(unread) {
                Ok(httparse::Status::Complete((line, size))) => break (line, size),
                Ok(httparse::Status::Partial) if unread.len() <= LINE_BYTES => {
                    read_some(stream, unread).await?;
                }
                _ => return Err(Broken::NotHttp("a part of the answer has no size")),
            }
        };
        unread.advance(line);
        if size == 0 {
            skip_trailers(stream, unread).await?;
            return Ok(body.freeze());
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > limit_bytes - body.len() {
            return Err(Broken::TooLarge);
        }
        fill(stream, unread, size + 2).await?;
        body.extend_from_slice(&unread[..size]);
        if &unread[size..size + 2] != b"\r\n" {
            return Err(Broken::NotHttp("a part of the answer does not end where it should"));
        }
        unread.advance(size + 2);
    }
}

/// Up to the empty line after the last chunk.
async fn skip_trailers(stream: &mut (impl AsyncRead + Unpin), unread: &mut BytesMut) -> Result<(), Broken> {
    loop {
        if let Some(end) = unread.windows(2).position(|two| two == b"\r\n") {
            unread.advance(end + 2);
            if end == 0 {
                return Ok(());
            }
        } else if unread.len() > LINE_BYTES {
            return Err(Broken::NotHttp("the answer's trailers do not end"));
        } else {
            read_some(stream, unread).await?;
        }
    }
}

async fn read_to_end(
    stream: &mut (impl AsyncRead + Unpin),
    unread: &mut BytesMut,
    limit_bytes: usize,
) -> Result<Bytes, Broken> {
    loop {
        if unread.len() > limit_bytes {
            return Err(Broken::TooLarge);
        }
        unread.reserve(READ_BYTES);
        if stream.read_buf(unread).await? == 0 {
            return Ok(unread.split().freeze());
        }
    }
}

/// Reads until there are `length` bytes.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    unread: &mut BytesMut,
    length: usize,
) -> Result<(), Broken> {
    while unread.len() < length {
        read_some(stream, unread).await?;
    }
    Ok(())
}

async fn read_some(stream: &mut (impl AsyncRead + Unpin), unread: &mut BytesMut) -> Result<(), Broken> {
    unread.reserve(READ_BYTES);
    match stream.read_buf(unread).await? {
        0 => Err(Broken::NotHttp("the connection ended before the answer did")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a vendor's bytes are read as, however they are cut.
    async fn read(answer: &[u8], step: usize) -> Result<Answer, String> {
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let answer = answer.to_vec();
        let vendor = tokio::spawn(async move {
            let mut request = [0; 4];
            theirs.read_exact(&mut request).await.unwrap();
            for part in answer.chunks(step) {
                theirs.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut unread = BytesMut::new();
        let read = exchange(&mut ours, b"POST", &mut unread, 100).await.map_err(|broken| broken.to_string());
        vendor.await.unwrap();
        read
    }

    #[tokio::test]
    async fn answers_are_read_however_they_are_cut() {
        let cases: [(&[u8], u16, &str, bool); 9] = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, "ok", true),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
                200,
                "ok",
                true,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
                200,
                "ok",
                true,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                200,
                "ok",
                false,
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nok", 200, "ok", false),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false),
            (b"HTTP/1.1 503 X\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", 503, "", false),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, "", true),
        ];
        for (bytes, status, body, is_reusable) in cases {
            for step in [1, 7, 1000] {
                let answer = read(bytes, step).await.unwrap();
                let seen = (answer.status, answer.body.as_ref(), answer.is_reusable);
                assert_eq!(
                    seen,
                    (status, body.as_bytes(), is_reusable),
                    "{:?}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    }

    #[tokio::test]
    async fn bytes_beyond_an_answer_end_the_connection() {
        let answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", 1000).await.unwrap();
        assert!(!answer.is_reusable);
    }

    #[tokio::test]
    async fn what_is_no_whole_answer_is_none() {
        let cases: [&[u8]; 12] = [
            b"",
            b"\0\x01garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
            b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokxx0\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ];
        for bytes in cases {
            for step in [1, 1000] {
                let read = read(bytes, step).await;
                assert!(read.is_err(), "{:?}: {read:?}", String::from_utf8_lossy(bytes));
            }
        }
    }
}
