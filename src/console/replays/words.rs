//! Texts of the replays' pages.

use crate::console::ui::status::Status;
use crate::console::words::Lang;
use crate::store::{Predicted, ReplayKind, ReplayResult, ReplayState};

words! {
    Texts {
        title: "重放", "Replays";
        one: "重放", "Replay";
        new: "计划重放", "Plan a replay";
        planned: "计划于", "Planned";
        kind: "对象", "What";
        selection: "选择", "Selection";
        rows: "条数", "Rows";
        by: "操作人", "By";
        none: "还没有重放。", "No replays yet.";
        none_match: "没有符合条件的重放。", "No replays match these filters.";
        how: "计划只预测结果，不做任何变更；确认后才开始。",
            "A plan predicts the results and changes nothing; it is started after you confirm it.";
        refused: "只选验签未通过而被拒绝的", "Refused ones only, instead of accepted ones";
        ids: "编号（每行一个，可空）", "Ids, one per line (optional)";
        order_no: "订单号", "Order";
        reason_class: "失败原因", "Reason class";
        why: "重放原因", "Reason";
        why_hint: "例如：02:10 前密钥有误", "Example: wrong key until 02:10";
        rate: "每秒条数", "Rows per second";
        make_plan: "预测结果", "Predict the results";
        predicted: "预测", "Predicted";
        result: "结果", "Result";
        to_do: "待办", "to do";
        nothing_to_do: "没有需要处理的：所选内容都已处理，或仍会失败。", "0 to do: all of it is processed already, or would fail again.";
        nothing_selected: "没有选中任何内容。", "Nothing is selected.";
        no_op: "无需处理", "no-op";
        settled: "已处理", "settled";
        failed: "失败", "failed";
        confirm_count: "请输入条数以确认", "Type the number of rows to confirm";
        wrong_count: "输入的条数与计划不符，没有开始。", "That is not the number of rows: nothing was started.";
        start: "开始重放", "Start the replay";
        pause: "暂停", "Pause";
        resume: "继续", "Resume";
        cancel: "取消重放", "Cancel the replay";
        progress: "进度", "Progress";
        per_second: "条/秒", "rows/s";
        left: "预计剩余", "left";
        reload: "刷新进度", "Reload the progress";
        items: "明细", "Items";
        item: "对象", "Item";
        number: "商户单号", "out_trade_no";
        error: "错误", "Error";
        no_items: "没有明细。", "No items.";
        started: "开始于", "Started";
        ended: "结束于", "Ended";
        started_by: "开始人", "Started by";
        planned_by: "计划人", "Planned by";
        says_started: "重放已开始。", "The replay is running.";
        says_changed: "条的预测与计划时不同。", "rows have another prediction than in the plan.";
        says_paused: "重放已暂停。", "The replay is paused.";
        says_resumed: "重放继续进行。", "The replay is running again.";
        says_cancelled: "重放已取消，已完成的条目保持不变。", "The replay is cancelled; what was done stays done.";
        says_state: "重放的状态已变，没有执行。", "The replay's state changed meanwhile: nothing was done.";
        too_many: "选中的条目过多，请缩小范围。", "Too many rows are selected: narrow the selection.";
        audit: "审计记录", "Audit record";
        unreadable: "无法识别的选择条件", "This selection cannot be read";
        from: "从", "From";
        to: "到", "To";
    }
}

pub fn kind(kind: ReplayKind, lang: Lang) -> &'static str {
    match kind {
        ReplayKind::Notification => lang.pick("通知", "notifications"),
        ReplayKind::DeadLetter => lang.pick("死信", "dead letters"),
        ReplayKind::Event => lang.pick("事件", "events"),
        ReplayKind::Webhook => lang.pick("Webhook 投递", "webhooks"),
    }
}

pub fn status(state: ReplayState) -> Status {
    match state {
        ReplayState::Planned => Status::Planned,
        ReplayState::Running => Status::Running,
        ReplayState::Paused => Status::Paused,
        ReplayState::Done => Status::Done,
        ReplayState::Cancelled => Status::Cancelled,
    }
}

pub fn predicted(predicted: Predicted) -> Status {
    match predicted {
        Predicted::WouldSettle => Status::WouldSettle,
        Predicted::NoOp => Status::NoOp,
        Predicted::StillFails => Status::StillFails,
    }
}

pub fn result(result: ReplayResult) -> Status {
    match result {
        ReplayResult::Settled => Status::Settled,
        ReplayResult::NoOp => Status::NoOp,
        ReplayResult::Failed => Status::Broken,
    }
}
