use wxpay_worker::secret::Secret;
use wxpay_worker::wechat::jssdk::{signature, signed_url, string_to_sign};

#[test]
fn every_jssdk_vector_is_signed_over_the_address_without_its_fragment() {
    for v in super::of("jssdk", 5) {
        let (ticket, noncestr, url) = (v.input("jsapi_ticket"), v.input("noncestr"), v.input("url"));
        let timestamp_s = v.input("timestamp").parse().unwrap();
        let text = string_to_sign(ticket, noncestr, timestamp_s, url);
        assert_eq!(text, v.expects("string_to_sign"), "{}", v.name);
        assert_eq!(signature(&Secret::new(ticket), noncestr, timestamp_s, url), v.expects("signature"), "{}", v.name);
        assert!(text.ends_with(&format!("&url={}", signed_url(url))), "{}: the address that is answered", v.name);
    }
}
