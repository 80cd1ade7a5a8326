//! The trivial server that callbacks are compared with: it reads a body, puts it into a row, and answers 200 after the
//! commit. Whatever came during one commit shares the next; nobody lingers. The same runtime, HTTP library and durability.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{mpsc, oneshot};

/// Which database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Database {
    /// Where the cluster's socket is.
    pub socket_dir: PathBuf,
}

const GROUP: usize = 1024;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS bench_callbacks (
    day date NOT NULL, account text NOT NULL, writer bigint NOT NULL, seq bigint NOT NULL,
    received_at timestamptz NOT NULL, kind smallint NOT NULL, body text NOT NULL,
    PRIMARY KEY (account, writer, seq, day))";
const INSERT: &str = "INSERT INTO bench_callbacks
    SELECT current_date, 'single', $1, seq, now(), 1, body FROM UNNEST($2::bigint[], $3::text[]) AS i (seq, body)";

type Waiting = (Bytes, oneshot::Sender<()>);

/// The role.
pub fn run(how: &str) -> Result<()> {
    let database: Database = serde_json::from_str(how)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(database))
}

async fn serve(database: Database) -> Result<()> {
    let options = PgConnectOptions::new_without_pgpass().socket(database.socket_dir).port(5432);
    let options = options.username("campaignd").database("campaignd");
    let mut connection = PgConnection::connect_with(&options).await?;
    sqlx::query(TABLE).execute(&mut connection).await?;
    let (queue, queued) = mpsc::channel::<Waiting>(GROUP);
    tokio::spawn(async move {
        if let Err(error) = commit(connection, queued).await {
            eprintln!("the trivial server: {error:#}");
            std::process::exit(1);
        }
    });
    let router = Router::new().route("/webhooks/{account}/{token}", post(receive)).with_state(queue);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    tokio::task::spawn_blocking(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    axum::serve(listener, router).await.context("serve")
}

async fn receive(State(queue): State<mpsc::Sender<Waiting>>, body: Bytes) -> StatusCode {
    let (done, is_done) = oneshot::channel();
    let is_queued = queue.send((body, done)).await.is_ok();
    if is_queued && is_done.await.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn commit(mut connection: PgConnection, mut queued: mpsc::Receiver<Waiting>) -> Result<()> {
    let (writer, mut seq) = (i64::from(std::process::id()), 0);
    let mut group = Vec::with_capacity(GROUP);
    while queued.recv_many(&mut group, GROUP).await > 0 {
        let seqs: Vec<i64> = (seq + 1..=seq + group.len() as i64).collect();
        seq += group.len() as i64;
        let bodies: Vec<&str> =
            group.iter().map(|(body, _)| str::from_utf8(body)).collect::<std::result::Result<_, _>>()?;
        sqlx::query(INSERT).bind(writer).bind(seqs).bind(bodies).execute(&mut connection).await?;
        for (_, done) in group.drain(..) {
            // Whoever went away needs no answer.
            let _ = done.send(());
        }
    }
    Ok(())
}
