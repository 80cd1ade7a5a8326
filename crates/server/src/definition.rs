//! A campaign's definition, checked against the configuration, the audience and what the vendor can express.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use model::{
    FieldError, campaign,
    message::{Columns, Message},
    template::Findings,
};
use store::{
    PgConnection,
    audiences::{self, Audience, Status},
    campaigns::{Definition, Unusable},
};
use vendors::{AccountConfig, Compiled};

use crate::{
    convert,
    problem::{Answer, Problem},
    state::AppState,
    template_use,
};

/// What a request asks for, not checked yet.
pub fn from_request(new: ::api::NewCampaign) -> Definition {
    Definition {
        name: new.name.trim().to_owned(),
        account: new.account,
        sender: new.from,
        audience_id: new.audience_id,
        template: None,
        message: new.message,
        category: convert::category_of(new.category.unwrap_or_default()),
        priority: convert::priority_of(new.priority.unwrap_or_default()),
        max_attempts: clamp_attempts(new.max_attempts.unwrap_or(campaign::DEFAULT_MAX_ATTEMPTS)),
        messages_per_second: new.messages_per_second,
        on_unknown: convert::on_unknown_of(new.on_unknown.unwrap_or_default()),
        schedule: new.schedule.map(convert::schedule_of),
        sending_window: new.sending_window.map(convert::sending_window_of),
        canary: new.canary.map(convert::canary_of),
        expires_at: new.expires_at,
    }
}

/// A number that no smallint holds becomes one that the check refuses.
fn clamp_attempts(attempts: i32) -> i16 {
    i16::try_from(attempts).unwrap_or(-1)
}

/// A draft with a change applied.
pub fn changed(mut definition: Definition, change: ::api::CampaignChange) -> Definition {
    macro_rules! take {
        ($($given:expr => $field:ident),* $(,)?) => { $(if let Some(value) = $given { definition.$field = value; })* };
    }
    take! {
        change.name.map(|name| name.trim().to_owned()) => name,
        change.account => account,
        change.from => sender,
        change.audience_id => audience_id,
        change.message => message,
        change.category.map(convert::category_of) => category,
        change.priority.map(convert::priority_of) => priority,
        change.max_attempts.map(clamp_attempts) => max_attempts,
        change.messages_per_second => messages_per_second,
        change.on_unknown.map(convert::on_unknown_of) => on_unknown,
        change.schedule.map(|schedule| schedule.map(convert::schedule_of)) => schedule,
        change.sending_window.map(|window| window.map(convert::sending_window_of)) => sending_window,
        change.canary.map(|canary| canary.map(convert::canary_of)) => canary,
        change.expires_at => expires_at,
    }
    definition
}

/// What may be changed of a launched campaign while its task is scheduled.
pub const CHANGEABLE: [&str; 5] =
    ["schedule", "sending_window", "expires_at", "messages_per_second", "priority"];

/// The fields of a change that a launch has fixed.
pub fn fixed_by_launch(change: &::api::CampaignChange) -> Vec<&'static str> {
    let given = [
        ("name", change.name.is_some()),
        ("account", change.account.is_some()),
        ("from", change.from.is_some()),
        ("audience_id", change.audience_id.is_some()),
        ("message", change.message.is_some()),
        ("canary", change.canary.is_some()),
        ("max_attempts", change.max_attempts.is_some()),
        ("on_unknown", change.on_unknown.is_some()),
        ("category", change.category.is_some()),
    ];
    given.into_iter().filter_map(|(field, is_given)| is_given.then_some(field)).collect()
}

/// What a definition means, with everything that it names.
pub struct Checked<'a> {
    /// The account of the configuration.
    pub account: &'a AccountConfig,
    /// The audience.
    pub audience: Audience,
    /// Its columns.
    pub columns: Columns,
    /// The message.
    pub message: Message,
    /// The message in the vendor's form.
    pub compiled: Compiled,
    /// What is to be said about the use of its template.
    pub template: Findings,
}

/// Checks everything, brings the message into canonical form and names its template.
///
/// All wrong fields are named at once; an audience that is not ready is a conflict, and only when nothing else is wrong.
pub async fn check<'a>(
    state: &'a AppState,
    conn: &mut PgConnection,
    definition: &mut Definition,
) -> Answer<Checked<'a>> {
    let mut errors = check_alone(definition, state.clock.now());
    let account = check_sender(state, definition, &mut errors);
    let message = Message::parse(&definition.message).map_err(|found| errors.extend(found)).ok();
    let audience = audiences::get(conn, definition.audience_id).await?;
    if audience.is_none() {
        let message = format!("there is no audience {}: import one, or list them", definition.audience_id);
        errors.push(FieldError::new("audience_id", message));
    }
    let (Some(account), Some(message), Some(audience)) = (account, message, audience) else {
        return Err(Problem::fields(errors));
    };
    if audience.status != Status::Ready || audience.totals.accepted == 0 {
        // Its columns are not known, so placeholders cannot be judged.
        return Err(if errors.is_empty() { not_ready(&audience) } else { Problem::fields(errors) });
    }
    let columns = columns(&audience);
    let template = template_use::consider(conn, definition, &message).await?;
    let compiled =
        compile(account, definition, &message, &columns).map_err(|found| errors.extend(found)).ok();
    let (Some(compiled), true) = (compiled, errors.is_empty()) else {
        return Err(Problem::fields(errors));
    };
    definition.message = message.to_value();
    definition.template =
        message.template().map(|template| format!("{}/{}", template.name, template.language));
    Ok(Checked { account, audience, columns, message, compiled, template })
}

/// The columns that placeholders may name.
fn columns(audience: &Audience) -> Columns {
    let columns = Columns::new(audience.columns.clone());
    match &audience.phone_column {
        Some(phone) => columns.with_phone_column(phone),
        None => columns,
    }
}

fn compile(
    account: &AccountConfig,
    definition: &Definition,
    message: &Message,
    columns: &Columns,
) -> Result<Compiled, Vec<FieldError>> {
    let category = definition.category;
    let namespace = account.template_namespace.as_deref();
    vendors::compile(account.vendor, namespace, message, columns, &definition.sender, category)
}

/// What can be judged without anything else.
fn check_alone(definition: &Definition, now: DateTime<Utc>) -> Vec<FieldError> {
    let alone = campaign::Definition {
        name: &definition.name,
        schedule: definition.schedule.as_ref(),
        sending_window: definition.sending_window.as_ref(),
        canary: definition.canary.as_ref(),
        messages_per_second: definition.messages_per_second,
        max_attempts: i32::from(definition.max_attempts),
        expires_at: definition.expires_at,
    };
    let mut errors = alone.check(now);
    if definition.on_unknown == campaign::OnUnknown::Resend && definition.max_attempts == 1 {
        let message =
            "`resend` is a second attempt, which `max_attempts` 1 forbids: allow 2, or leave one of them out";
        errors.push(FieldError::new("on_unknown", message));
    }
    errors
}

fn check_sender<'a>(
    state: &'a AppState,
    definition: &Definition,
    errors: &mut Vec<FieldError>,
) -> Option<&'a AccountConfig> {
    let list = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let Some(account) = state.account(&definition.account) else {
        let known = list(state.accounts.iter().map(|account| account.name.as_str()).collect());
        let message = format!("there is no account `{}`; the configuration has: {known}", definition.account);
        errors.push(FieldError::new("account", message));
        return None;
    };
    if account.sender(&definition.sender).is_none() {
        let known = list(account.senders.iter().map(|sender| sender.from.as_str()).collect());
        let message =
            format!("`{}` is no sender of account `{}`; it has: {known}", definition.sender, account.name);
        errors.push(FieldError::new("from", message));
    }
    Some(account)
}

fn not_ready(audience: &Audience) -> Problem {
    let why = match audience.status {
        Status::Importing => Unusable::Importing,
        Status::Failed => Unusable::Failed,
        Status::Ready => Unusable::Empty,
    };
    unusable(audience.id, why)
}

/// Why an audience cannot be sent to.
pub fn unusable(audience_id: i64, why: Unusable) -> Problem {
    let why = match why {
        Unusable::Missing => {
            return Problem::new(StatusCode::CONFLICT, format!("audience {audience_id} has been deleted"));
        }
        Unusable::Importing => "is still being imported: wait until it is ready",
        Unusable::Failed => "could not be imported: its `error` says why; import it again",
        Unusable::Empty => "has no recipients: its rejects.csv says why",
    };
    Problem::conflict(format!("audience {audience_id} {why}"))
}
