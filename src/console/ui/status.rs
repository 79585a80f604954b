//! States: a word, a shape and a colour from one table. Unknown is never red; red means that a person is needed.

use askama::Template;
use askama::filters::HtmlSafe;

use crate::console::words::Lang;
use crate::order::{OrderState, PaymentClass};
use crate::refund::RefundState;
use crate::store::{ApprovalState, ErasureState, JobOutcome};

/// The colour and the shape of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It ended well.
    Good,
    /// It goes on by itself.
    Wait,
    /// Not known: it is being asked about.
    Unknown,
    /// It ended without effect.
    Quiet,
    /// A person is needed.
    Person,
}

named!(Tone { Good = "good", Wait = "wait", Unknown = "unknown", Quiet = "quiet", Person = "person" });

macro_rules! statuses {
    ($($variant:ident = $tone:ident $zh:literal $en:literal),* $(,)?) => {
        /// Every state that a badge shows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Status { $($variant),* }

        impl Status {
            pub fn tone(self) -> Tone {
                match self { $(Status::$variant => Tone::$tone),* }
            }

            pub fn word(self, lang: Lang) -> &'static str {
                match self { $(Status::$variant => lang.pick($zh, $en)),* }
            }
        }
    };
}

statuses! {
    Requested = Wait "处理中" "requested",
    Payable = Wait "待支付" "payable",
    Paid = Good "已支付" "paid",
    Held = Person "挂起" "held",
    Unmatched = Person "无订单" "unmatched",
    Unknown = Unknown "未知" "unknown",
    Closed = Quiet "已关闭" "closed",
    Failed = Quiet "失败" "failed",
    Refunding = Wait "退款中" "refunding",
    Refunded = Good "已退款" "refunded",
    Abnormal = Person "退款异常" "abnormal",
    Credited = Good "已入账" "credited",
    Returned = Quiet "已退回" "returned",
    Balanced = Good "平" "balanced",
    Explained = Good "已解释" "explained",
    Differs = Person "有差异" "red",
    NoBill = Unknown "无账单" "missing",
    NotDue = Quiet "未出账" "not due",
    MonthClosed = Good "已关账" "closed",
    MonthOpen = Quiet "未关账" "open",
    Ready = Wait "待关账" "to close",
    WouldAsk = Good "可以修复" "can be repaired",
    Known = Good "账簿已有" "in the books",
    NeedsNote = Person "需要说明" "needs a note",
    Carried = Quiet "跨日" "carried",
    Holds = Good "相符" "holds",
    Asked = Wait "已查询" "asked",
    Entered = Good "已记账" "entered",
    Reconciling = Wait "对账中" "reconciling",
    Awaiting = Wait "等待微信答复" "awaiting WeChat",
    Unsettled = Person "未完成" "not settled",
    Stopped = Quiet "已停止" "stopped",
    Done = Good "完成" "done",
    NoOp = Quiet "无需处理" "no-op",
    Running = Wait "进行中" "running",
    Paused = Wait "已暂停" "paused",
    Planned = Wait "已计划" "planned",
    Cancelled = Quiet "已取消" "cancelled",
    Idle = Quiet "空闲" "idle",
    Late = Person "超时" "late",
    Parked = Person "已搁置" "parked",
    Refused = Person "已拒绝" "refused",
    Replayed = Good "已重放" "replayed",
    Discarded = Quiet "已丢弃" "discarded",
    Duplicate = Quiet "重复" "duplicate",
    NoPayment = Quiet "未支付" "no payment",
    Waiting = Wait "等待订单" "waiting",
    Rejected = Person "已驳回" "rejected",
    WouldSettle = Good "将会处理" "would settle",
    Settled = Good "已结算" "settled",
    StillFails = Person "仍会失败" "still fails",
    Broken = Person "出错" "failed",
    Degraded = Person "异常" "degraded",
    Enabled = Good "已启用" "enabled",
    Disabled = Person "已停用" "disabled",
    Pending = Wait "待投递" "pending",
    Delivered = Good "已送达" "delivered",
    Healthy = Good "正常" "healthy",
    ToApprove = Person "待复核" "waiting",
    Approved = Good "已批准" "approved",
    NotApproved = Quiet "已拒绝" "refused",
    Expired = Quiet "已过期" "expired",
    Erasing = Wait "清除中" "running",
    NotErased = Wait "等待" "waiting",
    Erased = Good "已清除" "done",
}

impl From<OrderState> for Status {
    fn from(state: OrderState) -> Status {
        match state {
            OrderState::Requested => Status::Requested,
            OrderState::Payable => Status::Payable,
            OrderState::Paid => Status::Paid,
            OrderState::Closed => Status::Closed,
            OrderState::Failed => Status::Failed,
        }
    }
}

impl From<PaymentClass> for Status {
    fn from(class: PaymentClass) -> Status {
        match class {
            PaymentClass::Credited => Status::Credited,
            PaymentClass::Held => Status::Held,
            PaymentClass::Unmatched => Status::Unmatched,
            PaymentClass::Returned => Status::Returned,
        }
    }
}

impl From<JobOutcome> for Status {
    fn from(outcome: JobOutcome) -> Status {
        match outcome {
            JobOutcome::Running => Status::Running,
            JobOutcome::Idle => Status::Idle,
            JobOutcome::Done => Status::Done,
            JobOutcome::Failed | JobOutcome::Panic => Status::Broken,
            JobOutcome::Late => Status::Late,
        }
    }
}

impl From<RefundState> for Status {
    fn from(state: RefundState) -> Status {
        match state {
            RefundState::Requested | RefundState::Processing => Status::Refunding,
            RefundState::Unknown => Status::Unknown,
            RefundState::Succeeded => Status::Refunded,
            RefundState::Abnormal => Status::Abnormal,
            RefundState::Failed => Status::Failed,
        }
    }
}

impl From<ApprovalState> for Status {
    fn from(state: ApprovalState) -> Status {
        match state {
            ApprovalState::Waiting => Status::ToApprove,
            ApprovalState::Approved => Status::Approved,
            ApprovalState::Refused => Status::NotApproved,
            ApprovalState::Expired => Status::Expired,
        }
    }
}

impl From<ErasureState> for Status {
    fn from(state: ErasureState) -> Status {
        match state {
            ErasureState::Running => Status::Erasing,
            ErasureState::Waiting => Status::NotErased,
            ErasureState::Done => Status::Erased,
        }
    }
}

impl From<&Status> for Status {
    fn from(status: &Status) -> Status {
        *status
    }
}

/// A state as the page shows it. The shapes differ without colour: a disc, a ring, a dash, a triangle.
#[derive(Template)]
#[template(path = "console/ui/badge.html")]
pub struct Badge {
    pub status: Status,
    pub lang: Lang,
}

impl HtmlSafe for Badge {}
