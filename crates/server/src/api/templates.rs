//! `/templates`: the vendors' templates, as they are known here.
//!
//! No transaction is open while a vendor is called.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use model::template::{TemplateStatus, check_definition};
use serde::Deserialize;
use store::templates::{self, Filter, Known};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use vendors::{Account, AccountConfig, TemplatesError, codes};

use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Body, IdempotencyKey, Params, Segments},
    idempotency::Keyed,
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// How long a vendor's list may take, all its pages together.
const LISTING: Duration = Duration::from_secs(45);
/// What a vendor says that knows no such template.
const NOT_FOUND_THERE: &str = "132001";

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(sync)).routes(routes!(delete))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Of this account.
    account: Option<String>,
    /// Of this name.
    name: Option<String>,
    /// That may be sent, or may not.
    #[param(value_type = Option<::api::TemplateStatus>)]
    status: Option<::api::TemplateStatus>,
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists the templates that are known, in the order in which they became known.
#[utoipa::path(
    get, path = "/templates", tag = "templates", params(ListParams),
    responses((status = 200, body = ::api::List<::api::Template>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Template>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let after = extract::after(params.after.as_deref())?;
    let status = params.status.map(convert::template_status_of);
    let filter = Filter { account: params.account, name: params.name, status };
    let mut conn = state.connection().await?;
    let rows = templates::list(&mut conn, &filter, after, limit + 1).await?;
    Ok(Json(extract::page(rows, limit, |row| row.id.to_string(), convert::template)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SyncParams {
    /// Whose templates.
    account: String,
}

/// Asks the vendor for an account's templates, and replaces what is known of them by its answer.
#[utoipa::path(
    post, path = "/templates/sync", tag = "templates", params(SyncParams),
    responses((status = 200, body = ::api::TemplatesSynced))
)]
async fn sync(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<SyncParams>,
) -> Answer<Json<::api::TemplatesSynced>> {
    caller.needs(Role::Marketer)?;
    let unknown = || Problem::query("account", format!("names no account: there is no `{}`", params.account));
    let (account, client) = configured(&state, &params.account).ok_or_else(unknown)?;
    (state.live.call_permit)(&account.name).await;
    let listed = match tokio::time::timeout(LISTING, client.list_templates()).await {
        Ok(listed) => listed.map_err(|error| problem(account, "list its templates", error))?,
        Err(_) => {
            let seconds = LISTING.as_secs();
            let detail = format!(
                "account `{}`: the vendor has not listed its templates in {seconds} s; nothing has \
                                  changed here, try again",
                account.name
            );
            return Err(Problem::new(StatusCode::BAD_GATEWAY, detail));
        }
    };
    let now = state.clock.now();
    let known: Vec<Known> = listed.into_iter().map(convert::listed_template).collect();
    let mut tx = state.begin().await?;
    let synced = templates::replace(&mut tx, &account.name, &known, now).await?;
    commit(tx).await?;
    tracing::info!(
        account.name = account.name,
        listed = known.len(),
        gone = synced.gone,
        "templates were synced"
    );
    Ok(Json(::api::TemplatesSynced {
        account: account.name.clone(),
        listed: i64::try_from(known.len()).unwrap_or(i64::MAX),
        added: synced.added,
        changed: synced.changed,
        gone: synced.gone,
        synced_at: now,
    }))
}

/// Creates a template: at the vendor, where it has a call for that, else here alone.
#[utoipa::path(
    post, path = "/templates", tag = "templates",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition safe.")),
    request_body = ::api::NewTemplate,
    responses((status = 201, body = ::api::Template))
)]
async fn create(
    State(state): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(new): Body<::api::NewTemplate>,
) -> Answer<(StatusCode, Json<::api::Template>)> {
    caller.needs(Role::Marketer)?;
    let fingerprint = serde_json::to_vec(&new).unwrap_or_default();
    let keyed = Keyed::new(key, "templates", &[&fingerprint]);
    let (account, client) = check(&state, &new)?;
    let mut conn = state.connection().await?;
    let earlier = match &keyed {
        Some(keyed) => keyed.claim(&mut conn, state.clock.now()).await?,
        None => None,
    };
    drop(conn);
    let id = match earlier {
        Some(id) => id,
        None => match make(&state, account, client, new, keyed.as_ref()).await {
            Ok(id) => id,
            Err(problem) => {
                if let Some(keyed) = &keyed {
                    keyed.release(&mut *state.connection().await?).await?;
                }
                return Err(problem);
            }
        },
    };
    let mut conn = state.connection().await?;
    let template = templates::get(&mut conn, id).await?.ok_or_else(|| Problem::no("template", id))?;
    Ok((StatusCode::CREATED, Json(convert::template(template))))
}

/// The account and its client, when nothing is wrong with the request.
fn check<'a>(state: &'a AppState, new: &::api::NewTemplate) -> Answer<(&'a AccountConfig, &'a Arc<Account>)> {
    let category = convert::category_of(new.category);
    let mut errors = check_definition(&new.name, &new.language, category, &new.components);
    let found = configured(state, &new.account);
    match found {
        None => {
            let known: Vec<&str> = state.accounts.iter().map(|account| account.name.as_str()).collect();
            let message =
                format!("there is no account `{}`; the configuration has: {}", new.account, known.join(", "));
            errors.push(model::FieldError::new("account", message));
        }
        Some((account, _)) if account.vendor.keeps_templates() && new.status.is_some() => {
            let message = "is told by this account's vendor: leave it out";
            errors.push(model::FieldError::new("status", message));
        }
        Some(_) => {}
    }
    match found {
        Some(found) if errors.is_empty() => Ok(found),
        _ => Err(Problem::fields(errors)),
    }
}

/// Creates it; its id.
async fn make(
    state: &AppState,
    account: &AccountConfig,
    client: &Account,
    new: ::api::NewTemplate,
    keyed: Option<&Keyed>,
) -> Answer<i64> {
    let name = &account.name;
    let mut conn = state.connection().await?;
    let known = templates::named(&mut conn, name, &new.name).await?;
    drop(conn);
    if known.iter().any(|one| one.known.language == new.language && one.gone_at.is_none()) {
        let detail = format!(
            "account `{name}` has a template {}/{} already: delete it first, or choose another name",
            new.name, new.language
        );
        return Err(Problem::conflict(detail));
    }
    let by_hand = !account.vendor.keeps_templates();
    let wanted = convert::new_template(&new);
    let (vendor_id, status) = match by_hand {
        true => (None, new.status.map_or(TemplateStatus::Approved, convert::template_status_of)),
        false => {
            (state.live.call_permit)(name).await;
            let created = client.create_template(&wanted).await;
            (
                created.map_err(|error| problem(account, "create the template", error))?,
                TemplateStatus::Pending,
            )
        }
    };
    let row = Known {
        name: new.name,
        language: new.language,
        category: Some(wanted.category),
        status,
        status_word: status.as_str().to_ascii_uppercase(),
        components: new.components,
        quality: None,
        reason: None,
        vendor_id,
    };
    let mut tx = state.begin().await?;
    let id = match templates::add(&mut tx, name, &row, by_hand, state.clock.now()).await? {
        Some(id) => id,
        // Somebody synced between the vendor's answer and this.
        None => {
            let known = templates::named(&mut tx, name, &row.name).await?;
            let same = known.into_iter().find(|one| one.known.language == row.language);
            same.map(|one| one.id).ok_or_else(|| Problem::no("template", &row.name))?
        }
    };
    if let Some(keyed) = keyed {
        keyed.complete(&mut tx, id).await?;
    }
    commit(tx).await?;
    tracing::info!(account.name = name, template = row.name, "a template was created");
    Ok(id)
}

/// Deletes a template in all its languages: at the vendor, where it has a call for that, and here.
#[utoipa::path(
    delete, path = "/templates/{account}/{name}", tag = "templates",
    params(("account" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ::api::TemplateDeleted))
)]
async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Segments(account, name): Segments,
) -> Answer<Json<::api::TemplateDeleted>> {
    caller.needs(Role::Operator)?;
    let (account, client) = configured(&state, &account).ok_or_else(|| Problem::no("account", &account))?;
    let mut conn = state.connection().await?;
    if let Some(task_id) = templates::user_of(&mut conn, &account.name, &name).await? {
        let detail = format!(
            "task {task_id} is scheduled or unfinished and uses template {name}: cancel it, or wait until it has ended"
        );
        return Err(Problem::conflict(detail).with_task(task_id));
    }
    let is_known = !templates::named(&mut conn, &account.name, &name).await?.is_empty();
    drop(conn);
    let mut warnings = Vec::new();
    if account.vendor.deletes_templates() {
        (state.live.call_permit)(&account.name).await;
        match client.delete_template(&name).await {
            Ok(()) => warnings.push("the vendor deletes all languages of a name at once".to_owned()),
            Err(TemplatesError::Failed { code, .. }) if code == NOT_FOUND_THERE => {
                if !is_known {
                    return Err(Problem::no("template", &name));
                }
                warnings.push("the vendor did not know it any more".to_owned());
            }
            Err(error) => return Err(problem(account, "delete the template", error)),
        }
    } else if !is_known {
        return Err(Problem::no("template", &name));
    } else if account.vendor.keeps_templates() {
        warnings.push(
            "the vendor has no call that deletes templates: it is forgotten here alone and comes back with the next sync, \
             unless it is deleted in the vendor's own pages"
                .to_owned(),
        );
    }
    let mut tx = state.begin().await?;
    let languages = templates::forget(&mut tx, &account.name, &name).await?;
    commit(tx).await?;
    tracing::info!(account.name = account.name, template = name, "a template was deleted");
    Ok(Json(::api::TemplateDeleted { account: account.name.clone(), name, languages, warnings }))
}

fn configured<'a>(state: &'a AppState, name: &str) -> Option<(&'a AccountConfig, &'a Arc<Account>)> {
    Some((state.account(name)?, state.clients.get(name)?))
}

/// Why the vendor did not do it, with its code and what that means.
fn problem(account: &AccountConfig, what: &str, error: TemplatesError) -> Problem {
    let name = &account.name;
    match error {
        TemplatesError::NoCall => Problem::conflict(format!(
            "the vendor of account `{name}` has no call for templates: enter their definitions by hand (POST /templates)"
        )),
        TemplatesError::Inexpressible(errors) => Problem::fields(errors),
        TemplatesError::Failed { code, reason, may_have_happened } => {
            let entry = codes::find(account.vendor, &code);
            let meaning = entry.map(|entry| format!(" ({})", entry.meaning)).unwrap_or_default();
            let advice = if may_have_happened {
                "It may have been done all the same: sync the templates to see"
            } else {
                entry.map_or("", |entry| entry.advice)
            };
            let detail =
                format!("account `{name}`: the vendor did not {what}: {code}{meaning}: {reason}. {advice}");
            tracing::warn!(account.name = name, code, reason, "the vendor did not {what}");
            Problem::new(StatusCode::BAD_GATEWAY, detail.trim_end())
        }
    }
}
