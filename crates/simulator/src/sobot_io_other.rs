//! sobot.io's calls beside token, sending and records: templates, media, tasks, bill.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

use crate::answer::Answer;
use crate::check::{Checked, Object, Wrong};
use crate::faults::Endpoint;
use crate::sobot_io::{authorized, body_object, error, query_field, refusal, success};
use crate::vendor::Vendor;
use crate::world::World;

type Handled = Result<Answer, Answer>;

fn needed(query: Option<&str>, field: &str) -> Settled<String> {
    query_field(query.unwrap_or_default(), field)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| refusal("131008", &format!("{field} is required")))
}

type Settled<T> = Result<T, Answer>;

fn settled<T>(checked: Checked<T>) -> Settled<T> {
    checked.map_err(|wrong| {
        let code = if wrong.wrong == Wrong::Missing { "131008" } else { "131009" };
        refusal(code, &format!("{} {}", wrong.field, wrong.reason))
    })
}

async fn told(world: &Arc<World>, handled: Handled) -> Response {
    handled.unwrap_or_else(|refused| refused).deliver(world).await
}

/// `GET templateList?wabaid=`.
pub(crate) async fn template_list(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let handle = || -> Handled {
        authorized(&world, &headers)?;
        needed(query.as_deref(), "wabaid")?;
        let fault = world.faults().for_request(Vendor::SobotIo, Endpoint::Templates, &[]);
        if let Some(answer) = Answer::instead(fault.action.as_ref(), error) {
            return Ok(answer);
        }
        let namespace = "9eb0ceda_9fc9_42ad_ad5a_5dd9d905a15a";
        let list = success(&json!({"data": world.templates.sobot_io(), "namespace": namespace}));
        Ok(list.spoiled(fault.action.as_ref(), error))
    };
    told(&world, handle()).await
}

/// `POST createTemplateInfo`.
pub(crate) async fn create_template(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let handle = || -> Handled {
        authorized(&world, &headers)?;
        let request: Object = settled(body_object(&body))?;
        let number = settled(world.templates.add_sobot_io(&request))?;
        Ok(success(&json!({"id": (43_182_111_222_804_988_u64 + number as u64).to_string()})))
    };
    told(&world, handle()).await
}

/// `GET deleteTemplate?wabaid=&template_name=`.
pub(crate) async fn delete_template(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let handle = || -> Handled {
        authorized(&world, &headers)?;
        needed(query.as_deref(), "wabaid")?;
        let name = needed(query.as_deref(), "template_name")?;
        match world.templates.delete(&name) {
            true => Ok(success(&json!({"success": true}))),
            false => Err(refusal("132001", "template not found")),
        }
    };
    told(&world, handle()).await
}

/// `POST get_handle_id?importUrl=`, media for templates.
pub(crate) async fn get_handle_id(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let handle = || -> Handled {
        authorized(&world, &headers)?;
        needed(query.as_deref(), "importUrl")?;
        let body = json!({
            "page_no": null,
            "page_count": null,
            "total_count": null,
            "page_size": null,
            "items": null,
            "item": format!("4::2==:1-1:e:1730433757:{}:2:3", 1_134_351_617_166_827 + world.next_request()),
            "ret_code": "000000",
            "ret_msg": "success",
        });
        Ok(Answer::json(200, &body))
    };
    told(&world, handle()).await
}

/// `POST media_upload?phone_numberid=&url=`, media for messages.
pub(crate) async fn media_upload(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let handle = || -> Handled {
        authorized(&world, &headers)?;
        needed(query.as_deref(), "phone_numberid")?;
        needed(query.as_deref(), "url")?;
        Ok(success(&json!({"id": (1_011_461_420_318_338 + world.next_request()).to_string()})))
    };
    told(&world, handle()).await
}

/// `POST api_query_task_list`: the simulator runs no mass messaging of its own.
pub(crate) async fn task_list(State(world): State<Arc<World>>, headers: HeaderMap) -> Response {
    let handle = || -> Handled {
        authorized(&world, &headers)?;
        let body = json!({
            "items": [],
            "page_count": 0,
            "page_no": 1,
            "page_size": 15,
            "ret_code": "000000",
            "ret_msg": "success",
            "total_count": 0,
        });
        Ok(Answer::json(200, &body))
    };
    told(&world, handle()).await
}

/// `GET billDetailList?month=&query_type=`.
pub(crate) async fn bill(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let handle = || -> Handled {
        authorized(&world, &headers)?;
        needed(query.as_deref(), "month")?;
        needed(query.as_deref(), "query_type")?;
        let line = json!({
            "area_code": "91",
            "total_price": 0.0274,
            "country_code": "IN",
            "country_name": "India",
            "conversation": world.ledger.accepted_of(Vendor::SobotIo),
        });
        Ok(Answer::json(200, &json!({"items": [line], "ret_code": "000000", "ret_msg": "success"})))
    };
    told(&world, handle()).await
}
