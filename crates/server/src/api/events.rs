//! `/tasks/{id}/events`: a task's progress as it changes, at most twice a second.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, stream};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{self, Interval, MissedTickBehavior},
};

use super::tasks;
use crate::{
    auth::{Caller, Role},
    extract::Id,
    problem::{Answer, Problem},
    state::AppState,
};

const PERIOD: Duration = Duration::from_millis(500);

/// Streams the task as it changes, until the daemon ends. Each event is named `task`; its data is the task.
#[utoipa::path(
    get, path = "/tasks/{id}/events", tag = "tasks", params(("id" = i64, Path)),
    responses((status = 200, content_type = "text/event-stream", body = ::api::Task))
)]
pub async fn events(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Answer<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    caller.needs(Role::Viewer)?;
    let permit = state.event_streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many event streams are open: close some, or poll the task",
        )
    })?;
    // Whoever asks for a task that is not there shall see a 404, not an empty stream.
    tasks::load(&state, &mut *state.connection().await?, id).await?;
    let mut period = time::interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch { state, id, period, last: None, _permit: permit };
    let events =
        stream::unfold(watch, |mut watch| async move { watch.next().await.map(|event| (event, watch)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Watch {
    state: AppState,
    id: i64,
    period: Interval,
    last: Option<::api::Task>,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    /// Waits for a change; none at the shutdown, or when the task is gone.
    async fn next(&mut self) -> Option<Result<Event, Infallible>> {
        loop {
            tokio::select! {
                () = self.state.shutdown.cancelled() => return None,
                _ = self.period.tick() => {}
            }
            // A database that is away for a moment comes back; the stream's keep-alive goes on meanwhile.
            let Ok(mut conn) = self.state.connection().await else { continue };
            let Ok(task) = tasks::load(&self.state, &mut conn, self.id).await else { continue };
            drop(conn);
            if self.last.as_ref() == Some(&task) {
                continue;
            }
            let data = serde_json::to_string(&task).unwrap_or_default();
            self.last = Some(task);
            return Some(Ok(Event::default().event("task").data(data)));
        }
    }
}
