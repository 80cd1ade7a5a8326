//! How many requests and messages a second the simulator takes on this machine:
//! `cargo run --release -p simulator --example load -- [connections] [seconds]`.

#![allow(clippy::unwrap_used, reason = "an example may end at once")]

use std::time::{Duration, Instant};

use simulator::{Simulator, SimulatorOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn request(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn exotel(messages: usize) -> Vec<u8> {
    let message = r#"{"custom_data":"018f2c3e-7b1a-7c3e-9f00-1b2c3d4e5f60:12","from":"+919999000001","to":"+919999000002","content":{"recipient_type":"individual","type":"template","template":{"name":"order_update","language":{"policy":"deterministic","code":"en"},"components":[{"type":"body","parameters":[{"type":"text","text":"Asha"},{"type":"text","text":"A-1001"}]}]}}}"#;
    let body = format!(r#"{{"whatsapp":{{"messages":[{}]}}}}"#, vec![message; messages].join(","));
    let authorization = "authorization: Basic ZXhvdGVsLWtleTpleG90ZWwtdG9rZW4=";
    request("/v2/accounts/acme/messages", authorization, &body)
}

fn sobot_in() -> Vec<u8> {
    let body = r#"{"template_name":"order_update","template_lang":"en","customer_number":"919999000002","customer_name":"Asha","params":[{"type":"body","parameters":[{"type":"text","text":"Asha"},{"type":"text","text":"A-1001"}]}]}"#;
    request("/message/", "x-api-key: inbox-access-key\r\nx-api-secret: inbox-secret-key", body)
}

/// Sends one request after the other on a connection until the time is over; returns how many.
async fn client(address: std::net::SocketAddr, request: Vec<u8>, until: Instant) -> u64 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 1 << 17];
    let mut count = 0;
    while Instant::now() < until {
        stream.write_all(&request).await.unwrap();
        let mut read = 0;
        loop {
            read += stream.read(&mut buffer[read..]).await.unwrap();
            if is_whole(&buffer[..read]) {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&buffer[..read]));
        count += 1;
    }
    count
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    answer.len() >= end + 4 + length.parse::<usize>().unwrap()
}

/// How many reports a second reach a receiver that answers at once.
async fn callbacks(seconds: u64) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async || "");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    simulator.set_callback_urls([("exotel", &url), ("sobot_in", &url)]);
    for (name, request) in [("sobot_in", sobot_in()), ("exotel", exotel(100))] {
        let before = simulator.callbacks();
        let started = Instant::now();
        client(simulator.address(), request, started + Duration::from_secs(seconds)).await;
        simulator.wait_until_idle(Duration::from_secs(600)).await;
        let after = simulator.callbacks();
        let per_second = |count: u64| (count as f64 / started.elapsed().as_secs_f64()) as u64;
        let reports = per_second(after.acknowledged - before.acknowledged);
        println!("{name}: {reports} reports/s in {} posts/s", per_second(after.posts - before.posts));
        assert_eq!(after.abandoned, 0);
    }
}

#[tokio::main]
async fn main() {
    let number = |position: usize, default: u64| {
        std::env::args().nth(position).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (connections, seconds) = (number(1, 32), number(2, 5));
    for (name, request, messages) in [
        ("sobot_in, single", sobot_in(), 1),
        ("exotel, single", exotel(1), 1),
        ("exotel, batches of 100", exotel(100), 100),
    ] {
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let until = Instant::now() + Duration::from_secs(seconds);
        let clients: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(client(simulator.address(), request.clone(), until)))
            .collect();
        let mut total = 0;
        for client in clients {
            total += client.await.unwrap();
        }
        assert_eq!(simulator.accepted_total(), total * messages);
        println!("{name}: {} requests/s, {} messages/s", total / seconds, total * messages / seconds);
        let asked = Instant::now();
        let duplicates = simulator.duplicates().len();
        println!("  {duplicates} duplicate groups found in {:?}", asked.elapsed());
    }
    callbacks(seconds).await;
}
