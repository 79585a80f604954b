//! Money per minute as bars, with the figures beside and behind them.

use askama::Template;
use askama::filters::HtmlSafe;

use super::words::OverviewWords;
use crate::clock::Timestamp;
use crate::console::ui::money::Money;
use crate::console::ui::time::beijing;
use crate::console::words::Lang;
use crate::ops::overview::Minutes;
use crate::store::Sum;

const HEIGHT: i64 = 40;
/// From one bar to the next.
const STEP: usize = 4;

/// The bars of the last minutes; the height of each is relative to the highest.
#[derive(Template)]
#[template(path = "console/minutes.html")]
pub struct Chart {
    t: &'static OverviewWords,
    /// Begin of each minute, and what was paid in it.
    minutes: Vec<(String, Sum)>,
    /// The first minutes lack payments.
    is_cut: bool,
}

impl HtmlSafe for Chart {}

impl Chart {
    pub fn new(minutes: &Minutes, lang: Lang) -> Chart {
        let begin =
            |n: usize| minutes.from.as_ms().saturating_add(i64::try_from(n).unwrap_or(0).saturating_mul(60_000));
        let minute = |(n, sum): (usize, &Sum)| (beijing(Timestamp::from_ms(begin(n)))[11..16].to_owned(), *sum);
        let sums = minutes.sums.iter().enumerate().map(minute).collect();
        Chart { t: OverviewWords::of(lang), minutes: sums, is_cut: minutes.is_cut }
    }

    fn width(&self) -> usize {
        self.minutes.len() * STEP
    }

    fn height(&self) -> i64 {
        HEIGHT
    }

    fn highest(&self) -> i64 {
        self.minutes.iter().map(|(_, sum)| sum.amount.as_i64()).max().unwrap_or(0)
    }

    fn total(&self) -> Money {
        Money::yuan(self.minutes.iter().map(|(_, sum)| sum.amount.as_i64()).sum())
    }

    fn peak(&self) -> Money {
        Money::yuan(self.highest())
    }

    fn count(&self) -> i64 {
        self.minutes.iter().map(|(_, sum)| sum.count).sum()
    }

    /// Place, top and height of each bar that is there.
    fn bars(&self) -> Vec<(usize, i64, i64)> {
        let highest = i128::from(self.highest().max(1));
        let bar = |(n, (_, sum)): (usize, &(String, Sum))| {
            let part = i128::from(sum.amount.as_i64()) * i128::from(HEIGHT) / highest;
            let height = i64::try_from(part).unwrap_or(HEIGHT).max(1);
            (sum.amount.as_i64() > 0).then_some((n * STEP, HEIGHT - height, height))
        };
        self.minutes.iter().enumerate().filter_map(bar).collect()
    }

    /// The minutes that have any.
    fn numbers(&self) -> Vec<(&String, i64, Money)> {
        let paid = self.minutes.iter().filter(|(_, sum)| sum.count > 0);
        paid.map(|(begin, sum)| (begin, sum.count, Money::yuan(sum.amount.as_i64()))).collect()
    }
}
