//! The XML of API v2: one root, one level of elements, text inside. Anything else is refused.
//!
//! What is refused, because only attackers send it: DOCTYPE and any entity beyond the five
//! predefined and numeric ones (WeChat's own notice of 2018-07 required it of every merchant), processing instructions,
//! attributes, nesting, a repeated element (parsers disagree about which one counts), a byte order mark, anything
//! that is not UTF-8. Text and CDATA sections of one element are joined, as every XML parser does.
//!
//! What must stay true: a value is byte for byte what was sent (no trimming), because the signature covers it.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesRef, Event};

/// The elements of a message by name. The order of a `BTreeMap<String, _>` is the ASCII byte order that signing needs.
pub type Fields = BTreeMap<String, String>;

/// Maximum number of elements in a message; WeChat's largest known messages have a few dozen.
const MAX_FIELDS: usize = 512;

/// Why a body is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// The bytes are not UTF-8, or hold a character XML forbids.
    #[error("not UTF-8 text")]
    NotText,
    /// DOCTYPE, entity, processing instruction, attribute or nesting: never in a WeChat message.
    #[error("XML feature that no WeChat message uses")]
    Forbidden,
    /// The same element twice.
    #[error("an element appears twice")]
    Duplicate,
    /// Not well formed, cut short, or not XML at all.
    #[error("not well-formed XML")]
    Malformed,
    /// More elements than any message has.
    #[error("too many elements")]
    TooLarge,
}

/// Parses a message. The root's name does not matter (`xml`, or `root` inside a refund notification).
pub fn parse(body: &[u8]) -> Result<Fields, XmlError> {
    let text = std::str::from_utf8(body).map_err(|_| XmlError::NotText)?;
    if text.starts_with('\u{feff}') || !text.chars().all(is_xml_char) {
        return Err(XmlError::NotText);
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut fields = Fields::new();
    let mut at = Place::BeforeRoot;
    loop {
        let event = reader.read_event().map_err(|_| XmlError::Malformed)?;
        at = match (at, event) {
            (Place::AfterRoot, Event::Eof) => return Ok(fields),
            (Place::BeforeRoot, Event::Decl(decl)) => {
                utf8(&decl)?;
                Place::BeforeRoot
            }
            (Place::BeforeRoot, Event::Start(root)) => {
                plain(root.attributes_raw())?;
                Place::InRoot
            }
            (Place::BeforeRoot, Event::Empty(root)) => {
                plain(root.attributes_raw())?;
                Place::AfterRoot
            }
            (Place::InRoot, Event::Start(element)) => {
                plain(element.attributes_raw())?;
                Place::InElement(name(element.name().as_ref())?, String::new())
            }
            (Place::InRoot, Event::Empty(element)) => {
                plain(element.attributes_raw())?;
                insert(&mut fields, name(element.name().as_ref())?, String::new())?;
                Place::InRoot
            }
            (Place::InRoot, Event::End(_)) => Place::AfterRoot,
            (Place::InElement(name, mut value), Event::Text(text)) => {
                value.push_str(&text);
                Place::InElement(name, value)
            }
            (Place::InElement(name, mut value), Event::CData(text)) => {
                value.push_str(&text);
                Place::InElement(name, value)
            }
            (Place::InElement(name, mut value), Event::GeneralRef(entity)) => {
                value.push(resolve(&entity)?);
                Place::InElement(name, value)
            }
            (Place::InElement(name, value), Event::End(_)) => {
                insert(&mut fields, name, value)?;
                Place::InRoot
            }
            (at, Event::Comment(_)) => at,
            (at @ (Place::BeforeRoot | Place::InRoot | Place::AfterRoot), Event::Text(text)) => {
                if !text.bytes().all(|b| b.is_ascii_whitespace()) {
                    return Err(XmlError::Malformed);
                }
                at
            }
            (Place::InElement(..), Event::Start(_) | Event::Empty(_)) => return Err(XmlError::Forbidden),
            (_, Event::DocType(_) | Event::PI(_) | Event::GeneralRef(_)) => return Err(XmlError::Forbidden),
            _ => return Err(XmlError::Malformed),
        };
    }
}

/// A declaration may name no other encoding.
fn utf8(declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") => Ok(()),
        Some(Ok(_) | Err(_)) => Err(XmlError::NotText),
    }
}

/// Writes a message. Digits stand bare, everything else in CDATA, as WeChat's own messages do.
pub fn write(fields: &Fields) -> String {
    let mut xml = String::from("<xml>");
    for (name, value) in fields {
        if value.bytes().all(|b| b.is_ascii_digit()) {
            xml.push_str(&format!("<{name}>{value}</{name}>"));
        } else {
            // `]]>` would end the section: it is split over two.
            let inner = value.replace("]]>", "]]]]><![CDATA[>");
            xml.push_str(&format!("<{name}><![CDATA[{inner}]]></{name}>"));
        }
    }
    xml.push_str("</xml>");
    xml
}

/// Whether XML 1.0 allows the character; checked before a text is sent, too.
pub fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

enum Place {
    BeforeRoot,
    InRoot,
    InElement(String, String),
    AfterRoot,
}

fn plain(attributes: &str) -> Result<(), XmlError> {
    if attributes.trim_ascii().is_empty() { Ok(()) } else { Err(XmlError::Forbidden) }
}

fn name(name: &str) -> Result<String, XmlError> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$'));
    if plain && !name.is_empty() && name.len() <= 64 { Ok(name.to_owned()) } else { Err(XmlError::Malformed) }
}

fn insert(fields: &mut Fields, name: String, value: String) -> Result<(), XmlError> {
    if fields.len() == MAX_FIELDS {
        return Err(XmlError::TooLarge);
    }
    match fields.insert(name, value) {
        None => Ok(()),
        Some(_) => Err(XmlError::Duplicate),
    }
}

fn resolve(entity: &BytesRef<'_>) -> Result<char, XmlError> {
    if let Some(c) = entity.resolve_char_ref().map_err(|_| XmlError::Malformed)? {
        return if is_xml_char(c) { Ok(c) } else { Err(XmlError::NotText) };
    }
    match &**entity {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(XmlError::Forbidden),
    }
}
