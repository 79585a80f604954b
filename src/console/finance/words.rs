//! The texts of the ledger, the reconciliation and the months.

words! {
    FinanceWords {
        ledger_title: "账簿", "Ledger";
        day: "日期", "Day";
        today: "今天", "Today";
        before: "前一天", "Day before";
        after: "后一天", "Day after";
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
        month_before: "上月", "Month before";
        month_after: "下月", "Month after";
        payments: "交易", "Payments";
        refunds: "退款", "Refunds";
        fees: "手续费", "Fees";
        differences: "差异笔数", "Differences";
        bill: "微信账单", "Bill";
        ours: "账簿", "Our books";
        unexplained: "未解释", "Unexplained";
        open_lines: "待处理", "open";
        no_lines: "没有差异。", "No line differs.";
        note: "说明", "What explains it";
        resolve: "解释", "Explain";
        says_resolved: "已解释。", "The line is explained.";
        says_not_open: "该行已处理，或当天已重新对账。", "The line is not open any more, or the day has another result.";
        no_merchants: "没有可见的商户。", "You see no merchant.";
        closed: "已关账", "Closed";
        open: "未关账", "Open";
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
    }
}
