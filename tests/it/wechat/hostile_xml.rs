use proptest::prelude::*;
use wxpay_worker::wechat::v2::xml::{Fields, XmlError, is_xml_char, parse, write};

fn rejects(body: impl AsRef<[u8]>, error: XmlError) {
    let body = body.as_ref();
    let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    assert_eq!(parse(body), Err(error), "{shown}");
}

#[test]
fn entities_and_document_types_are_never_expanded() {
    let laughs: String = (1..20).map(|n| format!("<!ENTITY a{n} \"&a{};&a{};\">", n - 1, n - 1)).collect();
    rejects(format!("<!DOCTYPE xml [<!ENTITY a0 \"ha\">{laughs}]><xml><a>&a19;</a></xml>"), XmlError::Forbidden);
    rejects("<!DOCTYPE xml SYSTEM \"http://127.0.0.1/x.dtd\"><xml><a>1</a></xml>", XmlError::Forbidden);
    rejects("<xml><!DOCTYPE xml><a>1</a></xml>", XmlError::Forbidden);
    rejects("<xml><a>&x;</a></xml>", XmlError::Forbidden);
    rejects("<xml>&amp;</xml>", XmlError::Forbidden);
}

#[test]
fn utf16_is_rejected_with_and_without_its_byte_order_mark() {
    let text = "<?xml version=\"1.0\" encoding=\"UTF-16\"?><!DOCTYPE x><xml><a>1</a></xml>";
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    rejects([b"\xfe\xff".as_slice(), &big].concat(), XmlError::NotText);
    rejects([b"\xff\xfe".as_slice(), &little].concat(), XmlError::NotText);
    rejects(big, XmlError::NotText);
    rejects(little, XmlError::NotText);
    rejects("<?xml version=\"1.0\" encoding=\"GBK\"?><xml><a>1</a></xml>", XmlError::NotText);
}

#[test]
fn a_hundred_thousand_levels_end_at_the_second() {
    rejects("<xml>".repeat(100_000), XmlError::Forbidden);
    rejects(format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000)), XmlError::Forbidden);
}

#[test]
fn eight_hundred_thousand_attributes_are_not_parsed() {
    let attributes: String = (0..800_000).map(|n| format!(" a{n}=\"\"")).collect();
    rejects(format!("<xml{attributes}><a>1</a></xml>"), XmlError::Forbidden);
    rejects(format!("<xml><a{attributes}>1</a></xml>"), XmlError::Forbidden);
    rejects("<xml><a b='1'/></xml>", XmlError::Forbidden);
}

#[test]
fn an_element_twice_or_too_many_elements_are_rejected() {
    rejects("<xml><a>1</a><a>1</a></xml>", XmlError::Duplicate);
    rejects("<xml><a/><a>1</a></xml>", XmlError::Duplicate);
    let many: String = (0..513).map(|n| format!("<a{n}>1</a{n}>")).collect();
    rejects(format!("<xml>{many}</xml>"), XmlError::TooLarge);
    let enough: String = (0..512).map(|n| format!("<a{n}>1</a{n}>")).collect();
    assert_eq!(parse(format!("<xml>{enough}</xml>").as_bytes()).unwrap().len(), 512);
}

#[test]
fn text_and_cdata_of_one_element_are_one_value() {
    let fields = parse(b"<xml><a>1<![CDATA[2<]]>3<!-- not a value -->4&#53;</a></xml>").unwrap();
    assert_eq!(fields["a"], "12<345");
}

#[test]
fn processing_instructions_and_a_second_document_are_rejected() {
    rejects("<?php system('id') ?><xml><a>1</a></xml>", XmlError::Forbidden);
    rejects("<xml><?x y?><a>1</a></xml>", XmlError::Forbidden);
    rejects("<xml><a><?x y?></a></xml>", XmlError::Forbidden);
    rejects("<xml><a>1</a></xml><?x y?>", XmlError::Forbidden);
    rejects("<xml><a>1</a></xml><xml><a>2</a></xml>", XmlError::Malformed);
    rejects("<xml><a>1</a></xml>trailing", XmlError::Malformed);
    rejects("leading<xml><a>1</a></xml>", XmlError::Malformed);
}

#[test]
fn bytes_that_are_not_xml_text_are_rejected() {
    rejects(b"\xef\xbb\xbf<xml><a>1</a></xml>", XmlError::NotText);
    rejects(b"<xml><a>\x00</a></xml>", XmlError::NotText);
    rejects(b"<xml><a>\x1b[31m</a></xml>", XmlError::NotText);
    rejects(b"<xml><a>\xed\xa0\x80</a></xml>", XmlError::NotText);
    rejects(b"<xml><a>\xc0\xaf</a></xml>", XmlError::NotText);
    rejects("<xml><a>\u{ffff}</a></xml>", XmlError::NotText);
    rejects("<xml><a>&#0;</a></xml>", XmlError::Malformed);
    rejects("<xml><a>&#xD800;</a></xml>", XmlError::Malformed);
    rejects("<xml><a>&#x1b;</a></xml>", XmlError::NotText);
    rejects("<xml><a>&#99999999;</a></xml>", XmlError::Malformed);
}

#[test]
fn a_message_cut_anywhere_is_rejected() {
    let whole = "<?xml version=\"1.0\"?><xml><a><![CDATA[x]]></a><b/><c>&amp;1</c></xml>";
    assert_eq!(parse(whole.as_bytes()).unwrap().len(), 3);
    for end in 0..whole.len() {
        assert!(parse(&whole.as_bytes()[..end]).is_err(), "{}", &whole[..end]);
    }
}

fn value() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        4 => any::<char>().prop_filter("allowed in XML", |c| is_xml_char(*c)),
        2 => prop::sample::select(vec!['<', '>', '&', ']', '[', '!', '"', '\'', ';', '0', ' ', '\n', '中']),
    ];
    prop_oneof![prop::collection::vec(character, 0..40).prop_map(String::from_iter), Just("]]>]]>".to_owned())]
}

fn message() -> impl Strategy<Value = Fields> {
    prop::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,20}", value(), 0..20)
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back_byte_for_byte(fields in message()) {
        prop_assert_eq!(parse(write(&fields).as_bytes()), Ok(fields));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_markup_makes_the_parser_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "<xml>", "</xml>", "<a>", "</a>", "<a/>", "<![CDATA[", "]]>", "<!--", "-->", "&amp;", "&#", ";", "<?", "?>",
        "<!DOCTYPE", "[", "x", "\"", "=", " ",
    ]), 0..40)) {
        let _ = parse(parts.concat().as_bytes());
    }
}
