//! Members of JSON objects and parameters: their form, unit, limits and an example.

use serde_json::{Map, Value, json};

/// The names of an enum of the code.
pub type Names = fn() -> Vec<&'static str>;

/// The names that a type has in JSON.
macro_rules! names_of {
    ($type:ty) => {
        || <$type>::ALL.iter().map(|value| value.as_str()).collect()
    };
}
pub(super) use names_of;

/// The form of a value.
#[derive(Clone, Copy)]
pub enum Shape {
    Text,
    /// One of these names.
    Word(Names),
    /// RFC 3339 in UTC.
    Time,
    /// A Beijing day.
    Day,
    /// A Beijing month.
    Month,
    /// Whole fen, below zero where money leaves.
    Fen,
    Number,
    Flag,
    /// A decimal number as text.
    Decimal,
    /// The named schema.
    Object(&'static str),
    Objects(&'static str),
    Texts,
    Words(Names),
    /// Objects of the named schema by a name that varies.
    ByName(&'static str),
    /// Counts by a name that varies.
    Counts,
    /// Any object.
    Json,
    /// Any value.
    Any,
}

/// A member of an object, or a parameter of a path or query.
#[derive(Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    about: &'static str,
    shape: Shape,
    example: &'static str,
    pattern: &'static str,
    /// Smallest and largest number; of a text, its lengths.
    within: Option<(i64, i64)>,
    /// How many bytes of UTF-8 it has at most; of an object, as compact JSON.
    max_bytes: Option<usize>,
    pub is_optional: bool,
    is_nullable: bool,
}

/// A member of this form, which is always there.
pub const fn of(shape: Shape, name: &'static str, about: &'static str) -> Field {
    let (example, pattern) = ("", "");
    Field {
        name,
        about,
        shape,
        example,
        pattern,
        within: None,
        max_bytes: None,
        is_optional: false,
        is_nullable: false,
    }
}

pub const fn text(name: &'static str, about: &'static str, example: &'static str) -> Field {
    Field { example, ..of(Shape::Text, name, about) }
}

pub const fn word(name: &'static str, about: &'static str, names: Names) -> Field {
    of(Shape::Word(names), name, about)
}

pub const fn time(name: &'static str, about: &'static str) -> Field {
    of(Shape::Time, name, about)
}

pub const fn fen(name: &'static str, about: &'static str) -> Field {
    of(Shape::Fen, name, about)
}

pub const fn number(name: &'static str, about: &'static str) -> Field {
    of(Shape::Number, name, about)
}

pub const fn flag(name: &'static str, about: &'static str) -> Field {
    of(Shape::Flag, name, about)
}

pub const fn object(name: &'static str, about: &'static str, schema: &'static str) -> Field {
    of(Shape::Object(schema), name, about)
}

pub const fn objects(name: &'static str, about: &'static str, schema: &'static str) -> Field {
    of(Shape::Objects(schema), name, about)
}

/// A switch of a query: 1 is on; 0, or left out, is off.
pub const fn flag_01(name: &'static str, about: &'static str) -> Field {
    number(name, about).within(0, 1).optional()
}

impl Field {
    /// It may be left out; of an answer: it may be missing.
    #[must_use]
    pub const fn optional(self) -> Field {
        Field { is_optional: true, ..self }
    }

    #[must_use]
    pub const fn or_null(self) -> Field {
        Field { is_nullable: true, ..self }
    }

    #[must_use]
    pub const fn within(self, least: i64, most: i64) -> Field {
        Field { within: Some((least, most)), ..self }
    }

    /// A text of one byte at least and so many at most.
    #[must_use]
    pub const fn bytes(self, most: usize) -> Field {
        self.within(1, most as i64).max_bytes(most)
    }

    /// So many bytes at most. Characters may have several: a limit in characters would let more pass.
    #[must_use]
    pub const fn max_bytes(self, most: usize) -> Field {
        Field { max_bytes: Some(most), ..self }
    }

    #[must_use]
    pub const fn pattern(self, pattern: &'static str) -> Field {
        Field { pattern, ..self }
    }

    #[must_use]
    pub const fn example(self, example: &'static str) -> Field {
        Field { example, ..self }
    }

    /// Its JSON schema, with description and example.
    pub fn schema(&self) -> Value {
        let mut schema = self.form();
        if self.is_nullable {
            nullable(&mut schema);
        }
        let about = self.description();
        if !about.is_empty() {
            schema.insert("description".into(), about.into());
        }
        if let Some(example) = self.example_value() {
            schema.insert("examples".into(), json!([example]));
        }
        Value::Object(schema)
    }

    /// The limit in bytes, where it is another one than that in characters.
    fn byte_limit(&self) -> Option<usize> {
        self.max_bytes.filter(|_| self.pattern.is_empty())
    }

    fn description(&self) -> String {
        match self.byte_limit() {
            Some(most) if !self.about.contains(" bytes") => {
                format!("{} At most {most} bytes in UTF-8.", self.about)
            }
            Some(_) | None => self.about.to_owned(),
        }
    }

    fn form(&self) -> Map<String, Value> {
        let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
        let form = match self.shape {
            Shape::Text => json!({"type": "string"}),
            Shape::Word(names) => json!({"type": "string", "enum": names()}),
            Shape::Time => json!({"type": "string", "format": "date-time"}),
            Shape::Day => json!({"type": "string", "format": "date"}),
            Shape::Month => json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}),
            Shape::Fen | Shape::Number => json!({"type": "integer", "format": "int64"}),
            Shape::Flag => json!({"type": "boolean"}),
            Shape::Decimal => json!({"type": "string", "pattern": "^-?[0-9]+([.][0-9]+)?$"}),
            Shape::Object(name) => reference(name),
            Shape::Objects(name) => json!({"type": "array", "items": reference(name)}),
            Shape::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Shape::Words(names) => json!({"type": "array", "items": {"type": "string", "enum": names()}}),
            Shape::ByName(name) => json!({"type": "object", "additionalProperties": reference(name)}),
            Shape::Counts => json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            Shape::Json => json!({"type": "object"}),
            Shape::Any => json!({}),
        };
        let Value::Object(mut form) = form else { return Map::new() };
        let (least, most) = match self.shape {
            Shape::Text => ("minLength", "maxLength"),
            Shape::Texts | Shape::Words(_) | Shape::Objects(_) => ("minItems", "maxItems"),
            _ => ("minimum", "maximum"),
        };
        if let Some((from, to)) = self.within {
            form.insert(least.into(), from.into());
            if to < i64::MAX {
                form.insert(most.into(), to.into());
            }
        }
        if !self.pattern.is_empty() {
            form.insert("pattern".into(), self.pattern.into());
        }
        if let Some(most) = self.byte_limit() {
            form.insert("x-max-bytes".into(), most.into());
        }
        form
    }

    /// The example: the one given, else one of its form.
    pub fn example_value(&self) -> Option<Value> {
        let text = if self.example.is_empty() { self.usual_example()? } else { self.example };
        let is_text = matches!(self.shape, Shape::Text | Shape::Time | Shape::Day | Shape::Month | Shape::Decimal);
        match self.shape {
            Shape::Word(_) => Some(text.into()),
            _ if is_text => Some(text.into()),
            _ => serde_json::from_str(text).ok(),
        }
    }

    fn usual_example(&self) -> Option<&'static str> {
        match self.shape {
            Shape::Word(names) => names().first().copied(),
            Shape::Time => Some("2026-11-27T02:03:04.000Z"),
            Shape::Day => Some("2026-11-27"),
            Shape::Month => Some("2026-11"),
            Shape::Fen => Some("100"),
            Shape::Number => Some("1"),
            Shape::Flag => Some("true"),
            Shape::Decimal => Some("0.60"),
            Shape::Counts => Some("{\"matched\": 312}"),
            _ => None,
        }
    }
}

/// The same schema, which null fits, too.
fn nullable(schema: &mut Map<String, Value>) {
    if let Some(reference) = schema.remove("$ref") {
        schema.insert("anyOf".into(), json!([{"$ref": reference}, {"type": "null"}]));
        return;
    }
    if let Some(Value::String(kind)) = schema.get("type").cloned() {
        schema.insert("type".into(), json!([kind, "null"]));
    }
    if let Some(Value::Array(names)) = schema.get_mut("enum") {
        names.push(Value::Null);
    }
}
