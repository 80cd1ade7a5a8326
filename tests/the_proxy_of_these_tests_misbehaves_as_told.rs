//! The proxy between the daemon and its vendors or its database does what the tests of faults take for granted.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use sqlx::Connection as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::harness::{
    proxy::{Proxy, Way},
    wait_until, within,
};

const SHORT: Duration = Duration::from_millis(300);
const ENOUGH: Duration = Duration::from_secs(10);

/// A server that answers each `ping!` with `pong!pong!`.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 5];
                while client.read_exact(&mut request).await.is_ok() {
                    client.write_all(b"pong!pong!").await.unwrap();
                }
            });
        }
    });
    address
}

async fn connect(proxy: &Proxy) -> TcpStream {
    timeout(ENOUGH, TcpStream::connect(proxy.address())).await.unwrap().unwrap()
}

/// What comes back until the connection ends, and how it ends.
async fn rest(client: &mut TcpStream) -> (String, Option<ErrorKind>) {
    let mut answer = Vec::new();
    let read = timeout(ENOUGH, client.read_to_end(&mut answer)).await.expect("the connection ends");
    (String::from_utf8(answer).unwrap(), read.err().map(|error| error.kind()))
}

async fn ask(client: &mut TcpStream) -> String {
    client.write_all(b"ping!").await.unwrap();
    let mut answer = [0; 10];
    timeout(ENOUGH, client.read_exact(&mut answer)).await.expect("an answer comes").unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(SHORT, client.read(&mut [0; 16])).await.is_err()
}

#[tokio::test]
async fn it_forwards_refuses_and_lets_nobody_in() {
    let proxy = Proxy::to_address(server().await);
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client).await, "pong!pong!");
    assert_eq!((proxy.accepted(), proxy.open(), proxy.heard_bytes()), (1, 1, 5));

    proxy.set(Way::Refuse);
    assert_eq!(rest(&mut client).await, (String::new(), Some(ErrorKind::ConnectionReset)));
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    proxy.set(Way::FullBacklog);
    assert!(timeout(2 * SHORT, TcpStream::connect(proxy.address())).await.is_err(), "a full queue took one");

    proxy.set(Way::Forward);
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client).await, "pong!pong!");
    proxy.cut_all();
    assert_eq!(rest(&mut client).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(ask(&mut connect(&proxy).await).await, "pong!pong!");
}

#[tokio::test]
async fn it_resets_before_and_after_the_request_was_read() {
    let proxy = Proxy::to_address(server().await);
    for way in [Way::ResetBeforeReading, Way::ResetAfterReading, Way::ResetInsteadOfAnswer] {
        proxy.set(Way::Forward);
        let mut kept = connect(&proxy).await;
        assert_eq!(ask(&mut kept).await, "pong!pong!");
        proxy.set(way);
        kept.write_all(b"ping!").await.unwrap();
        assert_eq!(rest(&mut kept).await, (String::new(), Some(ErrorKind::ConnectionReset)), "{way:?}");
        // The reset may be there before the request, or before the connection is known to stand.
        if let Ok(mut new) = TcpStream::connect(proxy.address()).await {
            let _ = new.write_all(b"ping!").await;
            assert_eq!(rest(&mut new).await.0, "", "{way:?}");
        }
    }
    wait_until("no connection is left", within(10), async || (proxy.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn it_hangs_and_what_it_swallowed_is_not_answered_later() {
    let proxy = Proxy::to_address(server().await);
    for way in [Way::BlackHole, Way::HangInsteadOfAnswer] {
        proxy.set(way);
        let mut client = connect(&proxy).await;
        client.write_all(b"ping!").await.unwrap();
        assert!(is_silent(&mut client).await, "{way:?}");
        proxy.set(Way::Forward);
        assert_eq!(rest(&mut client).await, (String::new(), Some(ErrorKind::ConnectionReset)), "{way:?}");
    }
}

#[tokio::test]
async fn it_halves_and_drips_answers() {
    let server = format!("http://{}/", server().await);
    let proxy = Proxy::to_url(&server);
    assert_eq!(proxy.url(), format!("http://{}", proxy.address()));
    proxy.set(Way::HalfAnswer);
    let mut client = connect(&proxy).await;
    client.write_all(b"ping!").await.unwrap();
    let mut half = [0; 5];
    client.read_exact(&mut half).await.unwrap();
    assert_eq!(&half, b"pong!");
    assert!(matches!(client.read(&mut [0; 5]).await, Ok(0)), "the connection is closed in the middle");

    proxy.set(Way::Drip(SHORT));
    let mut client = connect(&proxy).await;
    client.write_all(b"ping!").await.unwrap();
    let mut byte = [0; 10];
    assert_eq!(client.read(&mut byte).await.unwrap(), 1);
    assert_eq!(client.read(&mut byte).await.unwrap(), 1);
    proxy.set(Way::Forward);
    let mut rest = [0; 8];
    timeout(ENOUGH, client.read_exact(&mut rest)).await.unwrap().unwrap();
    assert_eq!(&rest, b"ng!pong!");
}

#[tokio::test]
async fn what_is_said_into_a_frozen_connection_arrives_after_the_thaw() {
    let proxy = Proxy::to_address(server().await);
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client).await, "pong!pong!");
    proxy.set(Way::Freeze);
    let mut late = connect(&proxy).await;
    for client in [&mut client, &mut late] {
        client.write_all(b"ping!").await.unwrap();
        assert!(is_silent(client).await);
    }
    proxy.set(Way::Forward);
    for client in [&mut client, &mut late] {
        let mut answer = [0; 10];
        timeout(ENOUGH, client.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"pong!pong!");
    }
}

#[tokio::test]
async fn it_stands_before_postgresql() {
    let database = store::testing::database().await;
    let proxy = Proxy::to_database(&database);
    let url = proxy.database_url(&database);
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut connection).await.unwrap();
    assert_eq!(one, 1);
    proxy.cut_all();
    assert!(sqlx::query("SELECT 1").execute(&mut connection).await.is_err(), "the connection is cut");
    sqlx::PgConnection::connect(&url).await.unwrap().close().await.unwrap();
}
