//! sobot.io's callback exceptions: reports that were given up, listed by `response_list` and posted once more
//! by `again_push_response`. The oldest are forgotten first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::check::{Checked, Object, Wrong, given, invalid, optional_text};
use crate::pump;
use crate::sobot_io::{authorized, body_object, refusal};
use crate::world::World;

const KEPT: usize = 10_000;

/// A report that was given up.
#[derive(Clone)]
pub(crate) struct Exception {
    /// 0 when nobody answered.
    pub(crate) http_code: u16,
    pub(crate) body: Bytes,
    pub(crate) pushed_us: u64,
    pub(crate) sender: String,
    pub(crate) url: String,
}

#[derive(Default)]
pub(crate) struct Exceptions {
    kept: Mutex<VecDeque<Exception>>,
}

impl Exceptions {
    pub(crate) fn keep(&self, exception: Exception) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(exception);
    }

    fn matching(&self, filter: &Filter) -> Vec<Exception> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|one| filter.matches(one)).cloned().collect()
    }

    /// Takes out what matches, for a push that may put it back.
    fn take(&self, filter: &Filter, most: usize) -> Vec<Exception> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        kept.retain(|one| {
            let goes = taken.len() < most && filter.matches(one);
            if goes {
                taken.push(one.clone());
            }
            !goes
        });
        taken
    }
}

struct Filter {
    sender: Option<String>,
    http_code: Option<i64>,
    webhook_url: Option<String>,
    page_no: usize,
    page_size: usize,
}

impl Filter {
    fn new(request: &Object, most: usize) -> Checked<Filter> {
        let word = |field| -> Checked<Option<String>> {
            Ok(optional_text(request, field, 512)?.filter(|text| !text.is_empty()).map(str::to_owned))
        };
        let number = |field: &str| match given(request, field) {
            None => Ok(None),
            Some(value) if value.is_i64() => Ok(value.as_i64()),
            Some(_) => invalid(Wrong::Type, field, "must be an integer"),
        };
        let page = |number: Option<i64>, default| {
            number.and_then(|number| usize::try_from(number).ok()).unwrap_or(default).max(1)
        };
        if word("product_type")?.is_some_and(|product| product != "WhatsApp") {
            return invalid(Wrong::Value, "product_type", "must be WhatsApp here");
        }
        Ok(Filter {
            sender: word("sender")?,
            http_code: number("http_code")?,
            webhook_url: word("webhook_url")?,
            page_no: page(number("page_no")?, 1),
            page_size: page(number("page_size")?, 15).min(most),
        })
    }

    fn matches(&self, one: &Exception) -> bool {
        self.sender.as_ref().is_none_or(|sender| *sender == one.sender)
            && self.http_code.is_none_or(|code| code == i64::from(one.http_code))
            && self.webhook_url.as_ref().is_none_or(|url| *url == one.url)
    }
}

fn written(world: &World, one: &Exception) -> Value {
    let pushed = world.clock.wall_ms(one.pushed_us);
    json!({
        "configid": world.ids.request(one.pushed_us),
        "http_code": one.http_code,
        "product_type": "WhatsApp",
        "push_content": String::from_utf8_lossy(&one.body),
        "push_time": pushed,
        "response_time": pushed + 1,
        "sender": one.sender,
        "webhook_url": one.url,
    })
}

fn filter(world: &World, headers: &HeaderMap, body: &[u8], most: usize) -> Result<Filter, Answer> {
    authorized(world, headers)?;
    body_object(body)
        .and_then(|request| Filter::new(&request, most))
        .map_err(|wrong| refusal("131009", &format!("{} {}", wrong.field, wrong.reason)))
}

/// `POST /chat-set/api/webhook/response_list`.
pub(crate) async fn response_list(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = filter(&world, &headers, &body, 100).map_or_else(
        |refused| refused,
        |filter| {
            let found = world.exceptions.matching(&filter);
            let skipped = found.iter().skip((filter.page_no - 1).saturating_mul(filter.page_size));
            let items: Vec<Value> = skipped.take(filter.page_size).map(|one| written(&world, one)).collect();
            let body = json!({
                "items": items,
                "page_count": found.len().div_ceil(filter.page_size),
                "page_no": filter.page_no,
                "page_size": filter.page_size,
                "ret_code": "000000",
                "ret_msg": "success",
                "total_count": found.len(),
            });
            Answer::json(200, &body)
        },
    );
    answer.deliver(&world).await
}

/// `POST /chat-set/api/webhook/again_push_response`: what is acknowledged now is no exception any more.
pub(crate) async fn again_push(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let filter = match filter(&world, &headers, &body, 500) {
        Ok(filter) => filter,
        Err(refused) => return refused.deliver(&world).await,
    };
    let mut items = Vec::new();
    let mut succeeded = 0;
    for mut one in world.exceptions.take(&filter, filter.page_size) {
        one.http_code = pump::post_json(&world, &one.url, one.body.clone()).await.unwrap_or(0);
        items.push(written(&world, &one));
        if one.http_code == 200 {
            succeeded += 1;
        } else {
            world.exceptions.keep(one);
        }
    }
    let body = json!({
        "total_count": items.len(),
        "success_count": succeeded,
        "error_count": items.len() - succeeded,
        "page_no": filter.page_no,
        "page_size": filter.page_size,
        "ret_msg": "success",
        "ret_code": "000000",
        "items": items,
    });
    Answer::json(200, &body).deliver(&world).await
}
