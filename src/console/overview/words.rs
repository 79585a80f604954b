//! The texts of the overview.

words! {
    OverviewWords {
        title: "总览", "Overview";
        today: "今天", "Today";
        paid: "已支付", "Paid";
        last_payment: "最近一笔", "Last payment";
        never: "尚无支付", "no payment yet";
        lag: "入账延迟 p50 / p99", "Settle lag p50 / p99";
        by_query: "由查询首次得知", "First learnt by a query";
        by_query_hint: "支付通知迟到或丢失的比例", "Notifications that were late or lost";
        refunded: "已退款", "Refunded";
        person: "需要处理", "Needs a person";
        nothing: "没有需要处理的事项。", "Nothing needs a person.";
        held: "挂起的支付", "held payments";
        held_one: "挂起的支付", "held payment";
        unmatched: "没有订单的支付", "payments of no order";
        unmatched_one: "没有订单的支付", "payment of no order";
        approvals: "待他人复核的申请", "requests wait for a second person";
        approval: "待他人复核的申请", "request waits for a second person";
        dead_letters: "死信", "dead letters";
        dead_letter: "死信", "dead letter";
        since: "最早", "first";
        fault: "微信拒绝该商户的配置", "WeChat refuses this merchant's setup";
        machinery: "运行状况", "Machinery";
        payment: "笔", "payment";
        payments: "笔", "payments";
        refund: "笔", "refund";
        refunds: "笔", "refunds";
        queue: "各消费者的队列", "Queue by consumer";
        consumer: "消费者", "Consumer";
        pending: "等待", "Waiting";
        in_flight: "处理中", "In flight";
        oldest: "最早未确认", "Oldest unacknowledged";
        events_waiting: "待发布的事件", "Events to publish";
        jobs_failing: "失败的任务", "Jobs whose last run failed";
        leases: "持有的租约", "Leases held";
        silent: "队列没有响应。", "The queue does not respond.";
        at_least: "至少", "at least";
        live: "每 5 秒更新", "Updated every 5 seconds";
        view: "查看", "Open";
        no_merchants: "没有可见的商户。", "No merchant to show.";
        ends: "证书到期", "certificate ends";
        cut: "某商户一小时内的支付超过 50,000 笔，图中最早的几分钟不完整。",
            "A merchant had more than 50,000 payments: the first minutes lack some.";
        as_of: "未能更新，数据截至", "Not read just now: as of";
        not_known: "未知：数据库没有响应。", "Not known: the database does not answer.";
        database_silent: "没有响应", "does not answer";
        per_minute: "最近一小时每分钟入账（CNY）", "Money per minute of the last hour (CNY)";
        by_minute: "按分钟的数值", "Figures by minute";
        last_hour: "最近一小时", "Last hour";
        best_minute: "最高的一分钟", "Highest minute";
        no_money: "最近一小时没有入账。", "No payment within the last hour.";
        red: "对账有差异，待处理行数", "the bill differs, open lines";
        remainder: "未解释", "unexplained";
        missing: "缺少账单的天数", "bills missing, days";
        oldest_day: "最早", "oldest";
        to_close: "可以关账", "can be closed";
        more_days: "还有更多有差异的日期", "More days differ";
        more_hooks: "还有更多端点", "More endpoints";
        hook_gone: "接收方回答 410，已停用", "the receiver answered 410: disabled";
        hook_given_up: "长时间没有成功，已停用", "no success for too long: disabled";
        hook_by_person: "由人员停用", "disabled by a person";
        hook_fails: "投递持续失败", "no delivery succeeds";
        token: "无法更新应用的凭证", "the app's token cannot be kept fresh";
        since_when: "自", "since";
        database: "数据库", "Database";
        read_only: "不接受写入", "takes no writes";
        writes: "可读写", "takes writes";
        queue_state: "消息队列", "Queue";
        embedded: "内置（数据库）", "embedded in the database";
        answers: "有响应", "answers";
    }
}
