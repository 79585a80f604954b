use wxpay_worker::wechat::v2::sign::{seal, sign, string_to_sign, verify};

#[test]
fn every_signature_vector_comes_out_byte_for_byte() {
    for v in super::of("v2-sign", 5) {
        let params = v.params();
        let text = format!("{}&key={}", string_to_sign(&params), v.input("key"));
        assert_eq!(text, v.expects("string_to_sign"), "{}", v.name);
        assert_eq!(sign(&params, &v.key(), v.sign_type()), v.expects("sign"), "{}", v.name);
        if let Some(order) = v.expected["order"].as_array() {
            let names: Vec<_> = params.keys().map(String::as_str).collect();
            assert_eq!(names, order.iter().map(|n| n.as_str().unwrap()).collect::<Vec<_>>(), "{}", v.name);
        }
        assert_eq!(verify(&seal(params, &v.key(), v.sign_type()), &v.key()), Ok(v.sign_type()), "{}", v.name);
    }
}
