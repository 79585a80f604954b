//! The service's configuration as a test puts it together: sections of several texts become one.

use toml::{Table, Value};

/// The texts as one: tables are merged, arrays of tables appended; of other values the last one holds.
pub fn merged<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut all = Table::new();
    for text in texts {
        let table: Table = toml::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        merge(&mut all, table);
    }
    all.iter().map(|(key, value)| format!("{} = {}\n", quoted(key), inline(value))).collect()
}

fn merge(all: &mut Table, more: Table) {
    for (key, value) in more {
        match (all.get_mut(&key), value) {
            (Some(Value::Table(known)), Value::Table(more)) => merge(known, more),
            (Some(Value::Array(known)), Value::Array(more)) if more.iter().all(Value::is_table) => known.extend(more),
            (_, value) => {
                all.insert(key, value);
            }
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => {
            let pairs = table.iter().map(|(key, value)| format!("{} = {}", quoted(key), inline(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(at) => at.to_string(),
    }
}

/// The escapes of JSON are TOML's, too.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn sections_are_merged_entries_appended_and_values_replaced() {
    let texts = ["[a]\nx = 1\ny = [\"p\"]\n[[b]]\nk = \"1\\n\"\n", "[a]\nx = 2\ny = [\"q\"]\n[[b]]\nk = \"2\"\n[c]\n"];
    let expected = "[a]\nx = 2\ny = [\"q\"]\n[[b]]\nk = \"1\\n\"\n[[b]]\nk = \"2\"\n[c]\n";
    let table = |text: &str| toml::from_str::<Table>(text).unwrap();
    assert_eq!(table(&merged(texts)), table(expected));
}
