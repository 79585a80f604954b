//! Three sources, one result. A small WeChat, payers and a business act by a script drawn from a seed; what they do
//! reaches an order through notifications (late, repeated, lost), questions (unanswered at times) and the bill, in
//! whatever order the seed says. At the end the order must be what WeChat knows, with one ledger entry per transaction
//! and `order.paid` announced once, and every way of learning the same truth must have come to the same order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::{Fact, Payment};
use wxpay_worker::order::{
    AttemptState, CLOSABLE_AFTER, Decision, Intent, Order, OrderEvent, OrderState, Policy, Surplus, decide,
};
use wxpay_worker::trade::TradeType;

use super::dice::Dice;
use super::support::*;
use crate::harness::size;

/// Histories of one run of the test, of the seeds from zero on; each is three ways of learning one script.
fn histories() -> u64 {
    size(5_000, 100_000)
}

/// What WeChat knows of one number.
#[derive(Clone, Default, PartialEq)]
struct Number {
    placed: bool,
    closed_at: Option<u64>,
    payment: Option<Payment>,
    /// Money of a slow bank for a number that was closed: when it comes after the last query, only WeChat reports it.
    slow: bool,
}

#[derive(Clone, Copy)]
enum Act {
    /// The payer pays the newest number, if WeChat takes it.
    Pay,
    /// A slow bank's money for a number that was closed.
    SlowPay,
    Switch,
    Close,
}

#[derive(Clone, Copy, PartialEq)]
enum Ears {
    /// Notifications come at once, sometimes twice; questions are asked too.
    Prompt,
    /// No notification ever comes.
    QuestionsOnly,
    /// Notifications come hours late and in any order, the bill's lines among them; questions often have no answer.
    Late,
}

struct World {
    at: u64,
    wechat: Vec<Number>,
    order: Order,
    policy: Policy,
    ears: Ears,
    /// The script's dice and those of what is heard: the same script must not change with what is heard of it.
    noise: Dice,
    mail: Vec<(u64, u32, Fact)>,
    ledger: Vec<String>,
    paid_events: usize,
    /// How often `order.closed` was announced: money after that is late, whatever its way.
    closings: usize,
    refunds: BTreeSet<String>,
    transactions: u32,
}

impl World {
    fn new(policy: Policy, ears: Ears, noise: Dice) -> World {
        let mut order = order(OrderState::Requested, AttemptState::Created);
        order.queries.next_at = Some(later(60));
        let wechat = vec![Number::default()];
        let (mail, ledger, refunds) = (Vec::new(), Vec::new(), BTreeSet::new());
        World {
            at: 0,
            wechat,
            order,
            policy,
            ears,
            noise,
            mail,
            ledger,
            paid_events: 0,
            closings: 0,
            refunds,
            transactions: 0,
        }
    }

    fn now(&self) -> Timestamp {
        later(self.at)
    }

    fn hear(&mut self, n: u32, fact: &Fact) -> Option<bool> {
        match decide(&self.order, &number(n), fact, self.now(), self.policy) {
            Decision::Apply(change) => {
                let change = *change;
                assert_eq!(change.next.version, self.order.version + 1);
                assert!(self.order.state != OrderState::Paid || change.next.state == OrderState::Paid, "paid was left");
                self.ledger.extend(change.payment.map(|p| p.transaction_id.to_string()));
                self.paid_events += change.news.iter().filter(|n| matches!(n, OrderEvent::Paid(_))).count();
                self.closings += change.news.iter().filter(|n| matches!(n, OrderEvent::Closed)).count();
                // The number of such a refund follows from its payment: what is recorded already is not sent back
                // again.
                self.refunds.extend(change.refund.map(|r| r.transaction_id.to_string()));
                self.order = change.next;
                self.wechat.resize(self.order.attempts.len(), Number::default());
                None
            }
            Decision::AlreadyApplied => None,
            Decision::AskAgain { resubmit, .. } => Some(resubmit),
            Decision::Refused(refusal) => panic!("{refusal:?} of {fact:?}"),
        }
    }

    /// Places the newest number, as the worker does; the answer may be lost.
    fn place(&mut self) {
        let n = self.order.attempts.len();
        let waits = matches!(self.order.attempts[n - 1].state, AttemptState::Created | AttemptState::Unknown);
        if !waits || self.order.wants_close(self.now()) {
            return;
        }
        self.wechat[n - 1].placed = true;
        let fact = match self.noise.percent(10) {
            true => Fact::PlacementUnknown { why: "timeout".into(), said: None, not_called: false },
            false => Fact::PrepayIssued(prepay(&format!("wx{n}-{}", self.at))),
        };
        self.hear(n as u32, &fact);
    }

    /// What WeChat answers to a question.
    fn answer(&self, n: usize) -> Fact {
        let known = &self.wechat[n];
        match &known.payment {
            Some(payment) => Fact::Paid(payment.clone()),
            None if !known.placed => Fact::NotFound,
            None if known.closed_at.is_some() => Fact::Closed,
            None => Fact::Unpaid { trade_state: "NOTPAY".into() },
        }
    }

    /// A query about the order, as the worker makes it.
    fn query(&mut self) {
        let (version, mut again) = (self.order.version, false);
        let deaf = if self.ears == Ears::Late { 60 } else { 10 };
        for n in 0..self.order.attempts.len() {
            if !self.order.attempts[n].state.is_live() || self.noise.percent(deaf) {
                continue;
            }
            let fact = self.answer(n);
            let unpaid = matches!(fact, Fact::Unpaid { .. });
            again |= self.hear(n as u32 + 1, &fact) == Some(true);
            let closable = self.now() >= self.order.attempts[n].created_at.after(CLOSABLE_AFTER);
            if unpaid && closable && self.order.wants_close(self.now()) && self.order.attempts[n].state.is_live() {
                self.wechat[n].closed_at = Some(self.at);
                if !self.noise.percent(20) {
                    self.hear(n as u32 + 1, &Fact::Closed);
                }
            }
        }
        let new = self.order.attempts.len() > 1;
        if again || new {
            self.place();
        }
        if self.order.version == version {
            let done = self.order.queries.done + 1;
            self.order.queries.done = done;
            self.order.queries.next_at = wxpay_worker::order::next_poll(&self.order, done, self.now());
        } else if self.order.queries.next_at.is_some_and(|at| at <= self.now()) {
            self.order.queries.next_at = Some(self.now().after(Duration::from_secs(5)));
        }
    }

    /// Lets time pass: mail arrives, questions come due.
    fn pass_until(&mut self, until: u64) {
        for _ in 0..10_000 {
            let query = self.order.queries.next_at.map(|at| at.since(NOW).as_secs().max(self.at));
            let mail = self.mail.iter().map(|(at, _, _)| *at).min();
            let next = match (query, mail) {
                (Some(l), Some(m)) => l.min(m),
                (Some(at), None) | (None, Some(at)) => at,
                (None, None) => break,
            };
            if next > until {
                break;
            }
            self.at = self.at.max(next);
            if mail == Some(next) {
                let i = self.mail.iter().position(|(at, _, _)| *at == next).unwrap();
                let (_, n, fact) = self.mail.swap_remove(i);
                self.hear(n, &fact);
            } else {
                self.at += 1;
                self.query();
            }
        }
        self.at = self.at.max(until);
    }

    fn act(&mut self, act: Act) {
        let newest = self.order.attempts.len();
        match act {
            Act::Pay => {
                let i = self.wechat.len() - 1;
                let offered = self.order.attempts[i].state == AttemptState::Payable && self.order.intent.is_none();
                if offered
                    && self.wechat[i].placed
                    && self.wechat[i].closed_at.is_none()
                    && self.wechat[i].payment.is_none()
                {
                    self.pay(i);
                }
            }
            Act::SlowPay => {
                let closed = self.order.attempts.iter().position(|a| a.state == AttemptState::Closed);
                if let Some(i) = closed.filter(|i| self.wechat[*i].placed && self.wechat[*i].payment.is_none()) {
                    self.wechat[i].slow = true;
                    self.pay(i);
                }
            }
            Act::Switch => {
                let expires_at = self.now().after(Duration::from_secs(5000));
                let fact = Fact::AttemptRequested { trade_type: TradeType::Native, expires_at };
                self.hear(newest as u32, &fact);
                self.query();
                // The same request once more, as a repeated request or a second delivery brings it.
                self.hear(newest as u32, &fact);
            }
            Act::Close => {
                self.hear(newest as u32, &Fact::CloseRequested);
                self.query();
            }
        }
        let takes = |n: &Number| n.placed && n.closed_at.is_none() && n.payment.is_none();
        assert!(self.wechat.iter().filter(|n| takes(n)).count() <= 1, "two numbers take money at once");
    }

    fn pay(&mut self, i: usize) {
        self.transactions += 1;
        let mut payment = payment(i as u32 + 1, self.transactions);
        payment.time_end = self.now();
        self.wechat[i].payment = Some(payment.clone());
        let copies = match self.ears {
            Ears::QuestionsOnly => 0,
            Ears::Prompt => 1 + self.noise.below(2),
            Ears::Late => self.noise.below(4),
        };
        for _ in 0..copies {
            let delay = match self.ears {
                Ears::Prompt | Ears::QuestionsOnly => self.noise.below(3),
                Ears::Late => self.noise.below(90_000),
            };
            self.mail.push((self.at + delay, i as u32 + 1, Fact::Paid(payment.clone())));
        }
        if self.ears == Ears::Late && self.noise.percent(50) {
            self.mail.push((self.at + self.noise.below(90_000), i as u32 + 1, Fact::Paid(payment)));
        }
    }

    /// The rest of the mail and of the questions, by which all but a slow bank's money must be known; then the bill, in
    /// any order and twice; then everything that is still due.
    fn end(&mut self) {
        self.pass_until(self.at + 1_000_000);
        let known = |n: &Number| {
            n.payment.as_ref().is_none_or(|p| n.slow || self.ledger.iter().any(|l| *l == p.transaction_id.to_string()))
        };
        assert!(self.wechat.iter().all(known), "only the bill would have reported it: {:?}", self.order);
        let mut bill: Vec<(u32, Fact)> = Vec::new();
        for (i, n) in self.wechat.iter().enumerate() {
            bill.extend(n.payment.iter().map(|p| (i as u32 + 1, Fact::Paid(p.clone()))));
        }
        bill.extend(bill.clone());
        while !bill.is_empty() {
            let i = self.noise.below(bill.len() as u64) as usize;
            let (n, fact) = bill.swap_remove(i);
            self.hear(n, &fact);
        }
        self.pass_until(self.at + 1_000_000);
    }

    fn check(&self) {
        let truth: BTreeSet<String> =
            self.wechat.iter().flat_map(|n| &n.payment).map(|p| p.transaction_id.to_string()).collect();
        let ledger: BTreeSet<String> = self.ledger.iter().cloned().collect();
        assert_eq!(ledger.len(), self.ledger.len(), "a transaction was entered twice");
        assert_eq!(ledger, truth, "the ledger is not what WeChat knows");
        assert_eq!(self.order.state == OrderState::Paid, !truth.is_empty(), "{:?}", self.order);
        assert_eq!(
            self.paid_events,
            usize::from(self.order.paid_reported),
            "order.paid was announced {} times",
            self.paid_events
        );
        assert_eq!(self.order.flags.paid_twice, truth.len() > 1);
        let held = self.order.state == OrderState::Paid && !self.order.paid_reported;
        assert!(!held || self.order.flags.paid_late && self.policy.paid_late != Surplus::Accept, "{:?}", self.order);
        let kept =
            self.order.paid_by.as_ref().filter(|_| self.order.paid_reported).map(|p| p.transaction_id.to_string());
        assert!(kept.as_ref().is_none_or(|kept| !self.refunds.contains(kept)), "what was announced paid was sent back");
        if (self.policy.paid_late, self.policy.paid_twice) == (Surplus::Refund, Surplus::Refund) {
            let surplus: BTreeSet<String> = truth.iter().filter(|t| Some(*t) != kept.as_ref()).cloned().collect();
            assert_eq!(self.refunds, surplus, "all else is sent back");
        }
        assert!(!self.order.any_live(), "something can still be paid: {:?}", self.order);
        assert!(
            self.wechat.iter().all(|n| !n.placed || n.closed_at.is_some() || n.payment.is_some()),
            "WeChat still takes money"
        );
        let closed = self.order.state == OrderState::Closed;
        assert!(self.order.intent.is_none() || closed && self.order.intent == Some(Intent::Close), "{:?}", self.order);
    }
}

fn script(dice: &mut Dice) -> Vec<(u64, Act)> {
    let mut script = Vec::new();
    let mut at = 0;
    for _ in 0..1 + dice.below(5) {
        at += 1 + dice.below(2500);
        script.push((
            at,
            match dice.below(10) {
                0..=3 => Act::Pay,
                4..=5 => Act::SlowPay,
                6..=7 => Act::Switch,
                _ => Act::Close,
            },
        ));
    }
    script
}

fn surplus(dice: &mut Dice) -> Surplus {
    [Surplus::Accept, Surplus::Refund, Surplus::Hold][dice.below(3) as usize]
}

/// One script, heard in three ways; tells how many of them came to the same truth at WeChat. Payers and the business
/// act on what they see here, so scripts may part; where what WeChat knows is the same, the orders must be.
fn history(seed: u64) -> u64 {
    let mut dice = Dice(seed);
    // Within the grace, what counts depends on whether the order had ended when it became known.
    let late_grace = Duration::ZERO;
    let policy =
        Policy { paid_late: surplus(&mut dice), paid_twice: surplus(&mut dice), late_grace, ..Policy::default() };
    let script = script(&mut dice);
    let mut ends: Vec<World> = Vec::new();
    for (i, ears) in [Ears::Prompt, Ears::QuestionsOnly, Ears::Late].into_iter().enumerate() {
        let mut world = World::new(policy, ears, Dice(seed ^ (0xA5A5 << i)));
        world.place();
        for (at, act) in &script {
            world.pass_until(*at);
            world.act(*act);
        }
        world.end();
        world.check();
        ends.push(world);
    }
    let truth = |w: &World| {
        let numbers = w.wechat.iter().map(|n| (n.closed_at, n.payment.as_ref().map(|p| p.time_end)));
        (w.closings, numbers.collect::<Vec<_>>())
    };
    let mut same = 0;
    for other in ends[1..].iter().filter(|other| truth(other) == truth(&ends[0])) {
        let end = |w: &World| (w.order.state, w.order.flags, w.order.paid_reported, w.order.payments.len());
        assert_eq!(end(other), end(&ends[0]), "heard differently: {:#?}\n{:#?}", other.order, ends[0].order);
        same += 1;
    }
    same
}

#[test]
fn three_sources_in_any_order_end_in_what_wechat_knows() {
    if let Ok(seed) = std::env::var("WXPAY_TEST_SEED") {
        history(seed.parse().unwrap());
        return;
    }
    let (compared, histories) = (AtomicU64::new(0), histories());
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let compared = &compared;
            scope.spawn(move || {
                for seed in (thread..histories).step_by(threads as usize) {
                    match std::panic::catch_unwind(|| history(seed)) {
                        Ok(same) => compared.fetch_add(same, Ordering::Relaxed),
                        Err(_) => panic!("replay with WXPAY_TEST_SEED={seed}"),
                    };
                }
            });
        }
    });
    let compared = compared.into_inner();
    assert!(compared > histories / 10, "the scripts hardly ever agree: {compared}");
}
