//! The part of PromQL that rules and dashboards here use, read strictly: what is not known is an error.
//!
//! expr := operand (operator operand)*, where an operand is a number, `(expr)`, `sum by (labels) (expr)`,
//! `function(expr, …)` or `name{label="value"}[5m] offset 1h`.

use std::collections::BTreeSet;

use wxpay_worker::telemetry::{Kind, METRICS};

const AGGREGATIONS: [&str; 3] = ["max", "min", "sum"];
/// Longer ones first.
const OPERATORS: [&str; 13] = ["unless", "and", "or", "==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/"];
/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["instance", "job"];

/// What an expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Number,
    Vector,
    Range,
}

/// A metric in an expression, and every label that is named.
#[derive(Debug, Default)]
pub struct Used {
    pub metrics: BTreeSet<&'static str>,
}

/// The metrics of an expression that Prometheus would take.
pub fn read(text: &str) -> Result<Used, String> {
    let mut reader = Reader { rest: text, used: Used::default(), labels: BTreeSet::new() };
    let is = reader.expression().map_err(|why| format!("{why} before {:?} in {text}", reader.rest))?;
    if !reader.rest.is_empty() {
        return Err(format!("{:?} is left of {text}", reader.rest));
    }
    if is != Type::Vector {
        return Err(format!("{text} is a {is:?}"));
    }
    Ok(reader.used)
}

struct Reader<'a> {
    rest: &'a str,
    used: Used,
    /// Of the metrics read so far.
    labels: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip();
        let taken = self.rest.strip_prefix(token);
        let is_word = token.bytes().all(|b| b.is_ascii_alphabetic());
        let ends = |rest: &str| !is_word || !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match taken.filter(|rest| ends(rest)) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(format!("{token} is missing")) }
    }

    fn while_(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        self.skip();
        let end = self.rest.find(|c| !is(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> &'a str {
        self.while_(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    }

    fn expression(&mut self) -> Result<Type, String> {
        let mut is = self.operand()?;
        while let Some(operator) = OPERATORS.iter().find(|operator| self.take(operator)) {
            let other = self.operand()?;
            let is_set = matches!(*operator, "and" | "or" | "unless");
            if is == Type::Range || other == Type::Range || is_set && (is, other) != (Type::Vector, Type::Vector) {
                return Err(format!("{operator} of {is:?} and {other:?}"));
            }
            is = if is == Type::Vector || other == Type::Vector { Type::Vector } else { Type::Number };
        }
        Ok(is)
    }

    fn operand(&mut self) -> Result<Type, String> {
        if self.take("(") {
            let is = self.expression()?;
            self.expect(")")?;
            return Ok(is);
        }
        let number = self.while_(|c| c.is_ascii_digit() || c == '.');
        if !number.is_empty() {
            return number.parse::<f64>().map(|_| Type::Number).map_err(|e| e.to_string());
        }
        let name = self.word();
        match name {
            "" => Err("an operand is missing".to_owned()),
            name if AGGREGATIONS.contains(&name) => self.aggregation(),
            "rate" | "increase" => self.call(&[Type::Range]),
            "abs" => self.call(&[Type::Vector]),
            "histogram_quantile" => self.call(&[Type::Number, Type::Vector]),
            name => self.selector(name),
        }
    }

    /// By labels that what is summed up has.
    fn aggregation(&mut self) -> Result<Type, String> {
        let mut by = Vec::new();
        if self.take("by") {
            self.expect("(")?;
            loop {
                by.push(self.word());
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        let before = std::mem::take(&mut self.labels);
        let is = self.call(&[Type::Vector])?;
        if let Some(label) = by.iter().find(|label| !self.labels.contains(*label)) {
            return Err(format!("by {label}, which {:?} have not", self.used.metrics));
        }
        self.labels.extend(before);
        Ok(is)
    }

    fn call(&mut self, parameters: &[Type]) -> Result<Type, String> {
        self.expect("(")?;
        for (n, wanted) in parameters.iter().enumerate() {
            if n > 0 {
                self.expect(",")?;
            }
            let is = self.expression()?;
            if is != *wanted {
                return Err(format!("a {is:?} instead of a {wanted:?}"));
            }
        }
        self.expect(")")?;
        Ok(Type::Vector)
    }

    fn selector(&mut self, name: &'a str) -> Result<Type, String> {
        let labels = self.metric(name)?;
        if self.take("{") {
            while !self.take("}") {
                let label = self.word();
                if !labels.contains(label) {
                    return Err(format!("{name} has no label {label:?}"));
                }
                if !["=~", "!~", "!=", "="].iter().any(|operator| self.take(operator)) {
                    return Err("a comparison of a label is missing".to_owned());
                }
                self.expect("\"")?;
                self.while_(|c| c != '"');
                self.expect("\"")?;
                self.take(",");
            }
        }
        self.labels.extend(labels);
        let mut is = Type::Vector;
        if self.take("[") {
            self.duration()?;
            self.expect("]")?;
            is = Type::Range;
            self.counts(name)?;
        }
        if self.take("offset") {
            self.duration()?;
        }
        Ok(is)
    }

    /// Its labels.
    fn metric(&mut self, name: &str) -> Result<BTreeSet<&'static str>, String> {
        let mut labels = BTreeSet::from(ADDED);
        if name == "up" {
            return Ok(labels);
        }
        let of = |plain: &str| METRICS.iter().find(|metric| metric.name == plain);
        let part = ["_bucket", "_count", "_sum"].iter().find_map(|end| Some((of(name.strip_suffix(*end)?)?, *end)));
        let metric = match (of(name), part) {
            (Some(metric), _) if metric.kind != Kind::Histogram => metric,
            (_, Some((metric, end))) if metric.kind == Kind::Histogram => {
                labels.extend((end == "_bucket").then_some("le"));
                metric
            }
            _ => return Err(format!("there is no metric {name}")),
        };
        labels.extend(metric.labels);
        self.used.metrics.insert(metric.name);
        Ok(labels)
    }

    /// A rate of what may fall is none.
    fn counts(&self, name: &str) -> Result<(), String> {
        let is_gauge = METRICS.iter().any(|metric| metric.name == name && metric.kind == Kind::Gauge);
        if is_gauge { Err(format!("{name} is a gauge and not counted")) } else { Ok(()) }
    }

    fn duration(&mut self) -> Result<(), String> {
        let text = self.while_(|c| c.is_ascii_alphanumeric());
        if is_duration(text) { Ok(()) } else { Err(format!("{text:?} is no duration")) }
    }
}

/// `5m`
pub fn is_duration(text: &str) -> bool {
    let units = ["ms", "s", "m", "h", "d"];
    let number = units.iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

#[test]
fn what_prometheus_would_refuse_is_refused_here() {
    for right in [
        "up{job=\"wxpay\"} == 0",
        "sum by (le) (rate(wxpay_notify_ack_seconds_bucket[5m])) > 60",
        "max(wxpay_outbox_pending) > 1 or (max by (reason) (wxpay_dead_letters) unless wxpay_outbox_pending offset 1h)",
    ] {
        assert!(read(right).is_ok(), "{right}: {:?}", read(right).err());
    }
    for (wrong, why) in [
        ("max(wxpay_outbox_pending > 1", ") is missing"),
        ("max(wxpay_outbox_pending))", "is left"),
        ("wxpay_no_such_metric > 0", "no metric"),
        ("wxpay_notify_ack_seconds > 0", "no metric"),
        ("wxpay_dead_letters{result=\"x\"}", "no label"),
        ("wxpay_dead_letters{reason==\"x\"}", "\" is missing"),
        ("sum by (merchant) (wxpay_dead_letters)", "by merchant"),
        ("rate(wxpay_dead_letters[5m])", "is a gauge"),
        ("rate(wxpay_logins_total)", "instead of a Range"),
        ("rate(wxpay_logins_total[5 minutes])", "no duration"),
        ("wxpay_logins_total[5m]", "is a Range"),
        ("sumx(wxpay_logins_total)", "no metric sumx"),
        ("wxpay_logins_total and 1", "of Vector and Number"),
        ("1 + 1", "is a Number"),
    ] {
        let said = read(wrong).err().unwrap_or_default();
        assert!(said.contains(why), "{wrong}: {said}");
    }
}
