use base64::Engine;
use wxpay_worker::wechat::v2::xml::parse;

#[test]
fn every_xml_vector_is_read_or_rejected_as_it_says() {
    for v in super::of("v2-xml", 18) {
        let bytes = match v.inputs["xml_base64"].as_str() {
            Some(text) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
            None => v.input("xml").as_bytes().to_vec(),
        };
        match parse(&bytes) {
            Ok(fields) => assert_eq!(fields, super::fields(&v.expected["fields"]), "{}", v.name),
            Err(error) => assert!(v.is_rejected(), "{}: {error}", v.name),
        }
    }
}
