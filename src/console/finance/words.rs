//! The texts of the ledger, the reconciliation and the months.

use crate::console::words::Lang;
use crate::reconciliation::LineClass;

words! {
    FinanceWords {
        ledger_title: "账簿", "Ledger";
        day: "日期", "Day";
        today: "今天", "Today";
        before: "前一天", "Previous day";
        after: "后一天", "Next day";
        opening: "期初余额", "Opening";
        closing: "期末余额", "Closing";
        rows: "笔数", "Rows";
        change: "变动", "Change";
        balance: "余额", "Balance";
        entry: "分录", "Entry";
        recorded: "记账时间", "Recorded";
        number: "编号", "Number";
        period: "所属月份", "Month";
        adjusts: "调整", "adjusts";
        ledger_empty: "当天没有账目。", "Nothing was recorded on this day.";
        no_money: "当天之前没有资金。", "There was no money before.";
        file_csv: "导出 CSV", "Export CSV";
        file_xlsx: "导出 XLSX", "Export XLSX";
        calendar_title: "每日对账", "Reconciliation";
        month: "月份", "Month";
        month_before: "上月", "Previous month";
        month_after: "下月", "Next month";
        payments: "交易", "Payments";
        refunds: "退款", "Refunds";
        fees: "手续费", "Fees";
        differences: "笔差异", "differences";
        difference: "笔差异", "difference";
        bill: "微信账单", "Bill";
        ours: "账簿", "Our books";
        unexplained: "未解释", "Unexplained";
        open_lines: "待处理", "open";
        no_lines: "没有差异。", "No line differs.";
        note: "说明", "What explains it";
        resolve: "解释", "Explain";
        says_resolved: "已解释。", "The line is explained.";
        says_not_open: "该行已处理，或当天已重新对账。", "The line is no longer open, or the day was compared again.";
        no_merchants: "没有可见的商户。", "You see no merchant.";
        closed: "已关账", "Closed";
        close: "月末关账", "Close the month";
        will_close: "该月每一天的数字将被冻结。之后记账、属于该月的事项记入当时的月份，并注明所调整的日期。",
            "The figures of its days are frozen. What is recorded later about them counts in the month of its \
             recording, with the day that it adjusts.";
        hash: "指纹", "Hash";
        adjustments: "对已关账月份的调整", "Adjustments of closed months";
        open_days: "以下日期尚未平账或解释：", "These days are neither balanced nor explained:";
        not_over: "该月尚未结束。", "The month is not over.";
        out_of_order: "月份须按顺序关账，最近关账的是：", "Months are closed in their order; the last closed one is:";
        says_closed: "已关账。", "The month is closed.";
        says_already: "该月之前已关账。", "The month was closed before.";
        not_settled: "以下日期须先处理，才能关账：", "These days must be settled first:";
        to_calendar: "查看日历", "Back to the month";
        reopen: "重新打开", "Reopen";
        reopened: "曾关账，后重新打开", "Was closed and reopened";
        will_reopen: "该月的数字不再冻结，之前记入其他月份的调整将重新计入该月。原关账记录保留。",
            "Its figures are not frozen any more, and what was an adjustment counts in it again. The closing stays on \
             record.";
        says_reopened: "该月已重新打开。", "The month is open again.";
        says_was_open: "该月未关账。", "The month was not closed.";
        reopen_order: "只能重新打开最近关账的月份：", "Only the last closed month can be reopened:";
        loops: "三项核对", "Three loops";
        loop_trades: "交易对账：账单 = 账簿", "Trades: bill = books";
        loop_funds: "资金对账：资金账单 = 交易 − 退款 − 手续费", "Funds: fund flow = trades − refunds − fees";
        loop_balance: "余额：期末 = 期初 + 收入 − 支出", "Balance: closing = opening + income − expense";
        booked_other: "其他入账（提现等）", "Booked for other reasons";
        not_seen: "没有资金账单", "no fund-flow bill";
        asked_by: "发起人", "Requested by";
        by_schedule: "定时任务", "the schedule";
        asked_at: "发起时间", "Requested";
        finished_at: "完成时间", "Compared";
        next_at: "下次尝试", "Next try";
        working: "正在对账，本页自动更新。", "The day is being compared; this page updates itself.";
        working_again: "正在按更新后的账簿重新对账。", "The day is being compared again with the updated books.";
        ask_bill: "获取账单并对账", "Fetch the bill and compare";
        ask_again: "重新对账", "Compare again";
        ask_month: "获取缺少的账单", "Fetch the missing bills";
        says_asked: "已开始对账。", "The day will be compared.";
        says_under_way: "该日正在对账。", "The day is being compared already.";
        says_not_over: "该日尚未结束。", "The day is not over.";
        says_not_kept: "微信只保留三个月的账单，原结果不变。",
            "WeChat keeps bills for three months: the result stays as it is.";
        explain_day: "说明该日", "Explain the day";
        will_explain_day: "微信已不再保留该日的账单，无法对账。填写说明后，该月可以关账；说明写入审计记录和关账数字。",
            "WeChat no longer has the bill of this day. With a note its month can be closed; the note is in the audit \
             and in the figures of the closing.";
        day_explained: "整日说明", "Explained as a whole";
        explained_by: "说明人", "Explained by";
        explained_at: "说明时间", "Explained";
        whole_day: "整日说明", "as a whole";
        explained_days: "整日说明的日期", "Days explained as a whole";
        says_day_explained: "该日已说明。", "The day is explained.";
        says_kept: "微信仍保留该日账单，请对账。", "WeChat has the bill of this day: compare it.";
        says_day_not_open: "该日已平账、已说明、正在对账，或有待处理的差异。",
            "The day is balanced or explained, is being compared, or has open lines.";
        says_none_missing: "没有缺少的账单。", "No bill is missing.";
        days_asked: "天已开始对账。", "days will be compared.";
        never_asked: "尚未获取该日的账单。", "The bill of this day has not been fetched.";
        when_due: "微信于次日 10:00 提供账单，系统届时自动获取。",
            "WeChat has it from 10:00 Beijing time the next day; the service then fetches it by itself.";
        to_ledger: "当天账簿", "The day's books";
        repair: "修复", "Repair";
        repair_plan: "修复计划", "Repair plan";
        repair_result: "修复结果", "Result of the repair";
        repair_how: "账单本身不产生任何入账：系统向微信查询，以微信的答复为准。重复执行不会改变已入账的内容。",
            "A bill moves no money: the repair asks WeChat, and only WeChat's answer is entered. Repairing \
             twice changes nothing.";
        gone_through: "已处理行数", "Lines processed";
        repaired: "已修复", "Repaired";
        waits_for: "等待入账", "Lines awaiting WeChat";
        updated_at: "更新时间", "Updated";
        stop: "停止修复", "Stop the repair";
        stop_note: "已修复的行保持不变，其余的行仍待处理。", "Repaired lines stay repaired; the others stay open.";
        stopped_by: "停止人", "Stopped by";
        says_stopped: "修复已停止。", "The repair is stopped.";
        says_not_under_way: "修复已结束。", "The repair was over already.";
        wechat_said: "微信答复", "WeChat";
        asked_again: "将再次查询", "it is asked again";
        mixed: "该结果由旧版本计算，未区分币种，金额不予显示。重新对账后显示。",
            "An earlier version added up several currencies: its sums are not shown. Compare the day again.";
        would_do: "将执行", "Planned action";
        why: "原因", "Why";
        nothing_to_repair: "没有可以修复的差异。", "There is nothing to repair.";
        only_note: "以下差异只能由人员说明：", "These can only be explained by a note:";
        confirm_lines: "超过 100 行，请输入行数确认", "More than 100 lines: type how many";
        wrong_count: "输入的行数不符，未执行任何操作。", "That is not how many lines there are: nothing was done.";
        shown_of: "显示前", "the first";
        lines_word: "行", "lines";
        line_word: "行", "line";
        result: "结果", "Result";
        audit: "审计记录", "Audit record";
        to_day: "返回当天", "Back to the day";
        refused_by_wechat: "未能修复", "not repaired";
        on_day: "对方日期", "on";
        should_be: "应为", "should be";
        booked: "资金账单", "booked";
        bill_says: "账单", "bill";
        books_say: "账簿", "books";
        older_lines: "后面的行", "Next lines";
        first_lines: "第一页", "First lines";
    }
}

/// The name of a class; of one that is not known here, its own.
pub fn class_word(class: &str, lang: Lang) -> &str {
    let Some(known) = LineClass::parse(class) else { return class };
    let english = match known {
        LineClass::MissingHere => "missing here",
        LineClass::MissingInBill => "missing in the bill",
        LineClass::Amount => "amount",
        LineClass::Fee => "fee",
        LineClass::Status => "status",
        LineClass::Duplicate => "duplicate",
        LineClass::RefundMissingHere => "refund missing here",
        LineClass::RefundMissingInBill => "refund missing in the bill",
        LineClass::RefundAmount => "refund amount",
        LineClass::RefundPending => "refund pending",
        LineClass::RefundReversed => "refund reversed",
        LineClass::Currency => "currency",
        LineClass::Foreign => "another system's",
        LineClass::Carried => "carried",
        LineClass::Matched => "matched",
    };
    lang.pick(known.chinese(), english)
}

/// The name of a row of the ledger.
pub fn entry_word(entry: &str, lang: Lang) -> &str {
    match entry {
        "payment" => lang.pick("收款", "payment"),
        "matched" => lang.pick("匹配订单", "matched"),
        "accepted" => lang.pick("人工入账", "accepted"),
        "returned" => lang.pick("全部退回", "returned"),
        "refund" => lang.pick("退款", "refund"),
        other => other,
    }
}

/// The rule that covers a line.
pub fn rule_word(rule: &str, lang: Lang) -> &str {
    match rule {
        "refund_failed_at_wechat" => lang.pick("该退款在微信处理失败", "the refund failed at WeChat"),
        "refund_under_way" => lang.pick("微信正在处理该退款", "WeChat is working on the refund"),
        other => other,
    }
}
