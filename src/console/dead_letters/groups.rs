//! `GET /console/dead-letters`: the groups, or the list of one where the address names a reason or a state.

use std::collections::HashMap;

use askama::Template;
use axum::response::Response;

use super::list;
use super::reasons;
use super::spark::{BARS, Spark};
use super::words::Texts;
use crate::clock::Timestamp;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::viewer::Viewer;
use crate::ops::dead_letters;
use crate::ops::reason::ReasonClass;
use crate::store::DeadLetterGroup;

#[derive(Template)]
#[template(path = "console/dead_letters.html")]
struct GroupsPage {
    frame: Frame,
    t: &'static Texts,
    groups: Vec<Group>,
    /// When the last one of all was parked, for a viewer of all merchants.
    last: Option<Timestamp>,
}

struct Group {
    row: DeadLetterGroup,
    means: Option<&'static str>,
    mend: Option<&'static str>,
    show: String,
    replay: String,
    spark: Spark,
}

pub async fn overview(app: Console, viewer: Viewer, filters: Filters) -> Result<Response, Fault> {
    if ["reason", "state", "consumer", "order_no", "event_id"].iter().any(|name| filters.get(name).is_some()) {
        return list::list(&app, &viewer, filters).await;
    }
    let operator = viewer.operator();
    let rows = dead_letters::groups(&app.store, &operator).await?;
    let last = match (rows.is_empty(), viewer.merchants()) {
        (true, None) => app.store.last_dead_letter().await?,
        _ => None,
    };
    let from = rows.iter().map(|row| row.first).min().unwrap_or(app.clock.now());
    let length = app.clock.now().as_ms().saturating_sub(from.as_ms()).max(1);
    let step_ms = length / i64::try_from(BARS).unwrap_or(1) + 1;
    let mut counts: HashMap<(String, String), Vec<u64>> = HashMap::new();
    if !rows.is_empty() {
        for spread in dead_letters::spread(&app.store, &operator, from, step_ms).await? {
            let of_group = counts.entry((spread.reason, spread.consumer)).or_insert_with(|| vec![0; BARS]);
            let last = BARS - 1;
            of_group[usize::try_from(spread.interval).unwrap_or(last).min(last)] += spread.count;
        }
    }
    let t = Texts::of(app.lang);
    let lang = app.lang;
    let group = |row: DeadLetterGroup| {
        let class = ReasonClass::parse(&row.reason);
        let of_group = counts.remove(&(row.reason.clone(), row.consumer.clone()));
        Group {
            means: class.map(|class| reasons::sentence(class, lang)),
            mend: class.map(|class| reasons::mend(class, lang)),
            show: links::dead_letters_of(&row.reason, &row.consumer),
            replay: links::plan([("kind", "dead_letter"), ("reason_class", row.reason.as_str())]),
            spark: Spark::new(of_group.unwrap_or_default(), from, step_ms, t.over_time),
            row,
        }
    };
    let groups: Vec<Group> = rows.into_iter().map(group).collect();
    page(&GroupsPage { frame: Frame::new(&app, &viewer, Place::DeadLetters, t.title), t, groups, last })
}
