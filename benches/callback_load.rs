//! Posts callbacks about messages that were accepted, in a process of its own, over connections that stay open.

use std::{fmt::Write as _, io::Write as _, net::SocketAddr, path::PathBuf};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{machine, null_vendor, raw_client};

/// What to post.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Posts {
    /// To where.
    pub address: SocketAddr,
    /// The callback's path.
    pub path: String,
    /// Connections, each with one post at a time.
    pub connections: usize,
    /// How many statuses in all.
    pub statuses: u64,
    /// How many of them share a post: 1 in sobot.in's form, more in Exotel's.
    pub per_post: u64,
    /// The number of the first message's id.
    pub first: u64,
    /// `sent`, `delivered` or `read`.
    pub status: String,
    /// A file with what Exotel echoes, a line for each message.
    pub echoes: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Posted {
    /// From the first post to the last answer.
    pub elapsed_us: f64,
    /// Half of the posts were answered within this.
    pub p50_us: f64,
    /// 99 in 100.
    pub p99_us: f64,
    /// CPU of the poster.
    pub cpu_us: f64,
}

/// The role.
pub fn run(how: &str) -> Result<()> {
    let posts: Posts = serde_json::from_str(how)?;
    let echoes = posts.echoes.as_ref().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
    let echoes: Vec<&str> = echoes.lines().collect();
    ensure!(posts.per_post == 1 || echoes.len() as u64 >= posts.statuses, "{} echoes", echoes.len());
    let head = format!("POST {} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n", posts.path);
    let total = posts.statuses.div_ceil(posts.per_post);
    let mut body = String::new();
    let mut outcome = raw_client::run(posts.address, posts.connections, total, |number, request| {
        body.clear();
        if posts.per_post == 1 {
            single(&mut body, &posts, number);
        } else {
            batch(&mut body, &posts, number, &echoes);
        }
        let _ = write!(request, "{head}content-length: {}\r\n\r\n{body}", body.len());
    })?;
    ensure!(outcome.refused == 0, "{} posts were refused", outcome.refused);
    let posted = Posted {
        elapsed_us: outcome.elapsed_us as f64,
        p50_us: outcome.percentile_us(50.0),
        p99_us: outcome.percentile_us(99.0),
        cpu_us: machine::cpu_us(std::process::id())?,
    };
    println!("{}", serde_json::to_string(&posted)?);
    Ok(())
}

fn single(body: &mut String, posts: &Posts, number: u64) {
    let id = null_vendor::wamid(posts.first + number);
    let _ = write!(body, r#"{{"id":"{id}","status":"{}","timestamp":"1795302000"}}"#, posts.status);
}

fn batch(body: &mut String, posts: &Posts, number: u64, echoes: &[&str]) {
    let (code, name) = match posts.status.as_str() {
        "sent" => (30001, "EX_MESSAGE_SENT"),
        "delivered" => (30002, "EX_MESSAGE_DELIVERED"),
        _ => (30003, "EX_MESSAGE_SEEN"),
    };
    body.push_str(r#"{"whatsapp":{"messages":["#);
    let start = number * posts.per_post;
    for i in start..(start + posts.per_post).min(posts.statuses) {
        let (sid, echo) = (null_vendor::sid(posts.first + i), echoes.get(i as usize).unwrap_or(&""));
        let comma = if i > start { "," } else { "" };
        let _ = write!(
            body,
            r#"{comma}{{"callback_type":"dlr","sid":"{sid}","to":"9198{i:08}","exo_status_code":{code},"exo_detailed_status":"{name}","description":"Message {0}","timestamp":"2026-11-21T17:00:00.000+05:30","custom_data":"{echo}"}}"#,
            posts.status
        );
    }
    body.push_str("]}}");
}
