//! `GET /console/replays/{id}/stream`: the progress as server-sent events, until the replay or the session ends.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::{Interval, MissedTickBehavior};

use super::progress::Progress;
use crate::console::fault::Fault;
use crate::console::state::Console;
use crate::console::viewer::Viewer;
use crate::http::Error;
use crate::http::rate_limit::Pass;
use crate::ops::replay::{View, get as read};

/// How often the progress is read. Another process may do the work, so that no signal of this one tells of it.
const EVERY: Duration = Duration::from_secs(1);
/// A comment after this much silence keeps proxies from closing the stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

struct Watching {
    app: Console,
    viewer: Viewer,
    id: String,
    ticks: Interval,
    sent: Option<Progress>,
    _pass: Pass<i64>,
}

pub async fn stream(app: Console, viewer: Viewer, Path(id): Path<String>) -> Result<Response, Fault> {
    let view = read(&app.store, &viewer.operator(), &id).await.map_err(Error::from)?;
    if Progress::of(&view, app.clock.now(), app.lang).ended {
        // To an event source this says: do not come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let pass = app.shared.streams.enter(&viewer.session.id).map_err(|_| Fault::Busy)?;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = Watching { app, viewer, id, ticks, sent: None, _pass: pass };
    let events = stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        Some((Ok::<_, Infallible>(event), watching))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Reverse proxies that gather answers would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Watching {
    /// The next progress that differs from the last one.
    async fn next(&mut self) -> Option<Event> {
        if self.sent.as_ref().is_some_and(|sent| sent.ended) {
            return None;
        }
        loop {
            self.app.shutdown.run_until_cancelled(self.ticks.tick()).await?;
            let progress = Progress::of(&self.read().await?, self.app.clock.now(), self.app.lang);
            if self.sent.as_ref() == Some(&progress) {
                continue;
            }
            let event = Event::default().event("progress").json_data(&progress).ok();
            self.sent = Some(progress);
            return event;
        }
    }

    /// The replay, while the session holds.
    async fn read(&self) -> Option<View> {
        if !self.viewer.holds(&self.app).await.ok()? {
            return None;
        }
        read(&self.app.store, &self.viewer.operator(), &self.id).await.ok()
    }
}
