//! How far the repair of a day is.

use super::words::FinanceWords;
use crate::console::frame::Frame;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::status::Status;
use crate::store::{DayRepair, RepairState};

/// The newest repair of a day.
pub struct Progress {
    pub facts: Facts,
    /// Whether lines are gone through now.
    pub is_running: bool,
    pub may_be_stopped: bool,
}

impl Progress {
    pub fn new(frame: &Frame, t: &'static FinanceWords, (repair, waits_for): &(DayRepair, i64)) -> Progress {
        let status = match repair.state {
            RepairState::Running => Status::Running,
            RepairState::Settling => Status::Awaiting,
            RepairState::Done => Status::Done,
            RepairState::Unsettled => Status::Unsettled,
            RepairState::Stopped => Status::Stopped,
        };
        let by = repair.by.first().cloned().unwrap_or_default();
        let rows = [
            Some((frame.w.state, Cell::Badge(frame.badge(status)))),
            Some((t.gone_through, Cell::Text(format!("{} / {}", repair.done, repair.lines)))),
            Some((t.repaired, Cell::Text(repair.repaired.to_string()))),
            (*waits_for > 0).then(|| (t.waits_for, Cell::Text(waits_for.to_string()))),
            repair.next_at.filter(|_| repair.state == RepairState::Settling).map(|at| {
                let at = Cell::Time(frame.time(&at));
                (t.next_at, at)
            }),
            Some((t.asked_by, Cell::Text(by))),
            Some((frame.w.reason, Cell::Text(repair.reason.clone()))),
            repair.stopped.as_ref().map(|(by, _)| (t.stopped_by, Cell::Text(by.clone()))),
            Some((t.updated_at, Cell::Time(frame.time(&repair.updated_at)))),
        ];
        Progress {
            facts: Facts { rows: rows.into_iter().flatten().collect() },
            is_running: repair.state == RepairState::Running,
            may_be_stopped: repair.state.is_under_way(),
        }
    }
}
