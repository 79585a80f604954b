//! Texts of the dead letters' pages.

words! {
    Texts {
        title: "死信", "Dead letters";
        one: "死信", "Dead letter";
        first: "最早", "First";
        last: "最近", "Last";
        over_time: "时间分布", "Over time";
        consumer: "消费者", "Consumer";
        mend: "处理办法", "What mends it";
        show: "查看", "Show";
        replay_group: "重放本组", "Replay group";
        replay: "重放", "Replay";
        discard: "丢弃", "Discard";
        discard_selected: "丢弃所选", "Discard selected";
        discard_title: "丢弃死信", "Discard dead letters";
        discard_warning: "丢弃后不再处理，也不能撤销。", "A discarded dead letter is not processed, and this cannot be undone.";
        discard_reason: "丢弃原因", "Reason for discarding";
        discarded: "已丢弃的死信数", "Dead letters discarded";
        not_discarded: "未变更（已结束或不存在）", "unchanged (ended before, or not there)";
        none_selected: "没有选择死信。", "No dead letter is selected.";
        select: "选择", "Select";
        parked_at: "搁置于", "Parked";
        attempts: "尝试次数", "Attempts";
        error: "错误", "Error";
        last_error: "最后的错误", "Last error";
        event: "事件", "Event";
        subject: "主题", "Subject";
        ended: "结束于", "Ended";
        ended_by: "操作人", "Ended by";
        ended_reason: "结束原因", "Reason of the end";
        message: "消息（已脱敏）", "Message, masked";
        unreadable: "消息无法解析，不予显示。", "The message cannot be parsed and is not shown.";
        attempt: "第几次", "Attempt";
        at: "时间", "At";
        unknown_time: "时间未知", "time unknown";
        tab_parked: "待处理", "Parked";
        tab_replayed: "已重放", "Replayed";
        tab_discarded: "已丢弃", "Discarded";
        back_to_groups: "所有分组", "All groups";
        none: "没有死信。", "No dead letters.";
        last_was: "上一条在", "Last one";
        none_here: "这里没有死信。", "No dead letters here.";
        bytes: "字节", "bytes";
    }
}
