//! What recipients would get, how long all of it takes, and what it costs.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use model::{
    campaign::{OpenHours, WindowZone},
    message::render_canonical,
    number_kind,
    recipient_zones::{self, RecipientZones, TIME_ZONE_COLUMN, ZoneDoubt},
};
use store::{PgConnection, campaigns, recipients};

use crate::{
    auth::{Caller, Role},
    definition::{self, Checked},
    estimate::estimate,
    extract::{Body, Id},
    problem::{Answer, Problem},
    state::AppState,
    template_use,
};

/// Rows that one preview shows.
const LIMIT_ROWS: i32 = 50;

/// Shows what the first recipients would get, or those that are named; how long sending takes, and what it costs.
#[utoipa::path(
    post, path = "/campaigns/{id}/preview", tag = "campaigns", params(("id" = i64, Path)),
    request_body = ::api::PreviewRequest,
    responses((status = 200, body = ::api::Preview))
)]
pub async fn preview(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Body(request): Body<::api::PreviewRequest>,
) -> Answer<Json<::api::Preview>> {
    caller.needs(Role::Viewer)?;
    let mut conn = state.connection().await?;
    let campaign = campaigns::get(&mut conn, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    let mut definition = campaign.definition;
    // A launched campaign's times may lie in the past by now; what it says can still be shown.
    if campaign.task_id.is_some() {
        (definition.schedule, definition.expires_at) = (None, None);
    }
    let checked = definition::check(&state, &mut conn, &mut definition).await?;
    let rows = rows(&mut conn, definition.audience_id, &request).await?;
    let now = state.clock.now();
    let clocks = Clocks::of(&checked, &definition, now);
    let item = |row| {
        let mut item = item(&checked, row)?;
        item.warnings.extend(clocks.iter().filter_map(|clocks| clocks.warning(row)));
        Ok(item)
    };
    let items = rows.iter().map(item).collect::<Answer<Vec<_>>>()?;
    let estimate = estimate(&mut conn, &checked, &definition, now).await?;
    let warnings = warnings(&checked, &definition, &estimate, now);
    Ok(Json(::api::Preview { items, warnings, estimate }))
}

/// The rows that are asked for.
async fn rows(
    conn: &mut PgConnection,
    audience_id: i64,
    request: &::api::PreviewRequest,
) -> Answer<Vec<recipients::Recipient>> {
    let Some(nos) = &request.nos else {
        if !(1..=LIMIT_ROWS).contains(&request.rows) {
            return Err(Problem::field("rows", format!("must be 1 to {LIMIT_ROWS}")));
        }
        return Ok(recipients::page_after(conn, audience_id, 0, i64::from(request.rows)).await?);
    };
    if !(1..=LIMIT_ROWS).contains(&i32::try_from(nos.len()).unwrap_or(i32::MAX)) {
        return Err(Problem::field("nos", format!("must name 1 to {LIMIT_ROWS} recipients")));
    }
    let rows = recipients::by_nos(conn, audience_id, nos).await?;
    match nos.iter().find(|no| !rows.iter().any(|row| row.no == **no)) {
        Some(no) => Err(Problem::field("nos", format!("the audience has no recipient {no}; the first is 1"))),
        None => Ok(rows),
    }
}

fn item(checked: &Checked<'_>, recipient: &recipients::Recipient) -> Answer<::api::PreviewItem> {
    let row: Vec<&str> = recipient.vars.iter().map(String::as_str).collect();
    let shown = render_canonical(&checked.message, &checked.columns, recipient.phone, &row)
        .map_err(Problem::fields)?;
    let mut warnings = shown.all_warnings();
    if let Some(doubt) = number_kind::doubt(recipient.phone) {
        warnings.push(format!("the number is {doubt}"));
    }
    // What only the vendor's own form refuses.
    if shown.errors.is_empty()
        && let Err(error) = checked.compiled.render(recipient.phone, &row)
    {
        warnings.push(format!("would not be sent: {error}"));
    }
    Ok(::api::PreviewItem {
        no: recipient.no,
        to: recipient.phone.to_string(),
        message: Some(shown.message),
        warnings,
    })
}

/// The clocks of recipients, where the sending window follows them.
struct Clocks {
    hours: OpenHours,
    column: Option<usize>,
    now: DateTime<Utc>,
}

impl Clocks {
    fn of(checked: &Checked<'_>, definition: &campaigns::Definition, now: DateTime<Utc>) -> Option<Self> {
        let window = definition.sending_window.as_ref()?.compile().ok()?;
        let column = recipient_zones::column_of(&checked.columns);
        (window.zone == WindowZone::Recipient).then_some(Self { hours: window.hours, column, now })
    }

    /// What its author may not expect of a recipient's window.
    fn warning(&self, recipient: &recipients::Recipient) -> Option<String> {
        let column = self.column.and_then(|column| recipient.vars.get(column)).map(String::as_str);
        let (zones, doubt) = RecipientZones::of(recipient.phone, column);
        if self.hours.next_opening(zones.as_slice(), self.now).is_none() {
            let names: Vec<&str> = zones.as_slice().iter().map(|zone| zone.name()).collect();
            return Some(format!(
                "the sending window never opens for it: the number may be in any of {}, and at no time it is open in all \
                 of them; name a zone in the column `{TIME_ZONE_COLUMN}`, or make the window longer",
                names.join(", ")
            ));
        }
        Some(match doubt? {
            ZoneDoubt::NoSuchZone => format!(
                "`{}` in the column `{TIME_ZONE_COLUMN}` is no time zone such as Asia/Kolkata: the sending window follows \
                 the number",
                column.unwrap_or_default().trim()
            ),
            ZoneDoubt::NoPlace => format!(
                "nothing tells where this number is: the sending window follows UTC; name a zone in the column \
                 `{TIME_ZONE_COLUMN}`"
            ),
        })
    }
}

fn warnings(
    checked: &Checked<'_>,
    definition: &campaigns::Definition,
    estimate: &::api::Estimate,
    now: DateTime<Utc>,
) -> Vec<String> {
    let mut warnings = template_use::warnings(&checked.template);
    if !checked.compiled.facts.is_template {
        warnings.push(
            "this is no template: WhatsApp delivers it only to people who wrote to this number in the last 24 hours"
                .to_owned(),
        );
    }
    let ends_at = estimate.ends_at.unwrap_or(now);
    if definition.expires_at.is_some_and(|expires_at| expires_at < ends_at) {
        warnings.push("at this rate it expires before everybody has been sent to".to_owned());
    }
    if definition.canary.is_some_and(|canary| i64::from(canary.recipients) >= estimate.recipients) {
        warnings.push("the canary is the whole audience: it spares nobody".to_owned());
    }
    let window = definition.sending_window.as_ref().and_then(|window| window.compile().ok());
    if window.is_some_and(|window| window.zone == WindowZone::Recipient) {
        warnings.push(
            "the sending window follows each recipient's clock: the estimate does not know where they are, and it may take \
             a day longer"
                .to_owned(),
        );
    }
    let daily = checked.account.sender(&definition.sender).and_then(|sender| sender.daily_recipients);
    if let Some(daily) = daily
        && i64::from(daily) < estimate.recipients
    {
        warnings.push(format!("the sender's limit of {daily} recipients a day makes this take several days"));
    }
    let unpriced = estimate.cost.iter().flat_map(|cost| &cost.by_country).filter(|one| one.amount.is_none());
    let unpriced: i64 = unpriced.map(|one| one.recipients).sum();
    if unpriced > 0 {
        warnings.push(format!(
            "the cost leaves out about {unpriced} recipients: `price_per_message` has neither their countries nor `default`"
        ));
    }
    warnings
}
