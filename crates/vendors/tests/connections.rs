//! Connections are kept between calls, and one that the vendor has closed meanwhile costs nobody a message.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use model::verdict::Verdict;
use support::{FACTS, account, messages};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use vendors::Vendor;

/// What a vendor has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// Answers `per_connection` requests on each connection, then closes it without a word; tells each close.
#[cfg(test)]
async fn vendor(per_connection: usize) -> (String, Arc<Seen>, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let (closed, closes) = mpsc::unbounded_channel();
    let counts = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counts.connections.fetch_add(1, Ordering::Relaxed);
            let (counts, closed) = (Arc::clone(&counts), closed.clone());
            tokio::spawn(async move {
                answer(stream, per_connection, &counts).await;
                let _ = closed.send(());
            });
        }
    });
    (url, seen, closes)
}

#[cfg(test)]
async fn answer(mut stream: TcpStream, requests: usize, seen: &Seen) {
    for _ in 0..requests {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let number = seen.requests.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"data":{{"id":"id-{number}","status":"queued"}},"code":200}}"#);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn one_connection_carries_one_call_after_another() {
    let (url, seen, _closes) = vendor(usize::MAX).await;
    let account = account(Vendor::SobotIn, &url);
    for _ in 0..20 {
        let verdicts = account.send(&FACTS, &messages(Vendor::SobotIn, 1)).await;
        assert!(matches!(verdicts[..], [Verdict::Accepted { .. }]), "{verdicts:?}");
    }
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced_and_nothing_is_sent_twice() {
    let (url, seen, mut closes) = vendor(1).await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let account = account(Vendor::SobotIn, &url);
    for _ in 0..20 {
        let verdicts = account.send(&FACTS, &messages(Vendor::SobotIn, 1)).await;
        assert!(matches!(verdicts[..], [Verdict::Accepted { .. }]), "{verdicts:?}");
        closes.recv().await.unwrap();
        // Whatever the network brings makes the runtime look at all connections.
        TcpStream::connect(other.local_addr().unwrap()).await.unwrap();
    }
    assert_eq!(seen.connections.load(Ordering::Relaxed), 20);
    assert_eq!(seen.requests.load(Ordering::Relaxed), 20);
}
