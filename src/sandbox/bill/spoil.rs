//! Trade bills that cannot be used, or that are used although they are new. Chosen by the tester.

use serde::{Deserialize, Serialize};

/// What is done to the text of a bill, or to the bytes that are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Spoil {
    None,
    /// A third of the sent bytes is left out at their end, and their number says nothing of it.
    CutShort,
    /// The first sum of the summary behind its count is ten times as large and more.
    WrongSum,
    /// Without 微信订单号.
    MissingColumn,
    /// With a column more, as WeChat adds them.
    ExtraColumn,
    /// The first row has so many MiB and no end.
    LongLine(u32),
}

const NUMBER: &str = "微信订单号";

impl Spoil {
    /// Of the text of a bill.
    pub fn of_text(self, text: String) -> String {
        match self {
            Spoil::None | Spoil::CutShort | Spoil::LongLine(_) => text,
            Spoil::WrongSum => in_lines(&text, |at, lines, line| match line.split_once(",`") {
                Some((count, rest)) if at + 1 == lines => format!("{count},`9{rest}"),
                _ => line.to_owned(),
            }),
            Spoil::MissingColumn => {
                let names = text.lines().next().unwrap_or_default();
                let place = names.split(',').position(|name| name == NUMBER);
                in_lines(&text, |at, lines, line| match place {
                    Some(place) if at == 0 => without(line, ",", place),
                    Some(place) if at + 2 < lines => without(line, ",`", place),
                    _ => line.to_owned(),
                })
            }
            Spoil::ExtraColumn => in_lines(&text, |at, lines, line| match at {
                0 => format!("{line},新列"),
                _ if at + 2 < lines => format!("{line},`new, and more"),
                _ => line.to_owned(),
            }),
        }
    }

    /// Of the bytes that are sent.
    pub fn of_bytes(self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self == Spoil::CutShort {
            bytes.truncate(bytes.len() - bytes.len() / 3);
        }
        bytes
    }
}

fn in_lines(text: &str, of: impl Fn(usize, usize, &str) -> String) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let changed = lines.iter().enumerate().map(|(at, line)| of(at, lines.len(), line));
    changed.collect::<Vec<_>>().join("\r\n") + "\r\n"
}

fn without(line: &str, between: &str, place: usize) -> String {
    let cells = line.split(between).enumerate().filter(|(at, _)| *at != place);
    cells.map(|(_, cell)| cell).collect::<Vec<_>>().join(between)
}
