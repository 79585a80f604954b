//! Counts over time as a small line of bars, with the numbers in a table behind it.

use askama::Template;
use askama::filters::HtmlSafe;

use crate::clock::Timestamp;
use crate::console::ui::time::beijing;

/// Bars of one line.
pub const BARS: usize = 24;
const HEIGHT: u64 = 20;

/// Bars; the height of each is relative to the highest.
#[derive(Template)]
#[template(path = "console/spark.html")]
pub struct Spark {
    counts: Vec<u64>,
    begins: Vec<String>,
    pub label: &'static str,
}

impl HtmlSafe for Spark {}

impl Spark {
    /// `counts` of intervals of `step_ms`, the first of which begins at `from`.
    pub fn new(counts: Vec<u64>, from: Timestamp, step_ms: i64, label: &'static str) -> Spark {
        let begin = |i: usize| from.as_ms().saturating_add(step_ms.saturating_mul(i64::try_from(i).unwrap_or(0)));
        let begins = (0..counts.len()).map(|i| beijing(Timestamp::from_ms(begin(i)))).collect();
        Spark { counts, begins, label }
    }

    /// Place, top and height of each bar that is there.
    fn bars(&self) -> Vec<(usize, u64, u64)> {
        let highest = self.counts.iter().copied().max().unwrap_or(0).max(1);
        let bar = |(i, count): (usize, &u64)| {
            let height = (count * HEIGHT).div_ceil(highest);
            (*count > 0).then(|| (i * 4, HEIGHT - height, height))
        };
        self.counts.iter().enumerate().filter_map(bar).collect()
    }

    /// The intervals that have any.
    fn numbers(&self) -> Vec<(&String, u64)> {
        self.begins.iter().zip(self.counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
    }
}
