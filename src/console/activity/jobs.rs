//! `GET /console/jobs`: what the scheduler does, read from the database.

use askama::Template;
use axum::response::Response;

use super::words::ActivityWords;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::nav::Place;
use crate::console::state::Console;
use crate::console::ui::status::Status;
use crate::console::ui::time::millis;
use crate::console::viewer::Viewer;
use crate::ops;
use crate::store::{JobReport, JobView};

#[derive(Template)]
#[template(path = "console/jobs.html")]
struct JobsPage {
    frame: Frame,
    t: &'static ActivityWords,
    jobs: Vec<JobView>,
}

pub async fn get(app: Console, viewer: Viewer) -> Result<Response, Fault> {
    let t = ActivityWords::of(app.lang);
    let jobs = ops::jobs::list(&app.store, viewer.sees_all(&app.config)).await?;
    page(&JobsPage { frame: Frame::new(&app, &viewer, Place::Jobs, t.jobs_title), t, jobs })
}

impl JobsPage {
    fn status(&self, report: &JobReport) -> Status {
        report.outcome.into()
    }

    fn took(&self, report: &JobReport) -> String {
        report.ended_at.map_or("–".to_owned(), |end| millis(end.since(report.started_at), self.frame.lang))
    }
}
