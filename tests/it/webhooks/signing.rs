//! Signatures: the specification's example, and secrets.

use wxpay_worker::clock::Timestamp;
use wxpay_worker::webhooks::{SigningSecret, signatures};

/// The example of the Standard Webhooks libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &str = r#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

#[test]
fn the_specifications_example_is_signed_as_it_says() {
    let secret = SigningSecret::parse(SECRET).unwrap();
    let at = Timestamp::from_ms(1_614_265_330_999);
    assert_eq!(signatures(std::slice::from_ref(&secret), ID, at, BODY), SIGNATURE);
    let other = SigningSecret::random();
    let both = signatures(&[secret, other], ID, at, BODY);
    assert_eq!(both.split(' ').next(), Some(SIGNATURE));
    assert_eq!(both.split(' ').count(), 2);
}

#[test]
fn a_secret_has_the_form_of_the_specification_and_is_not_printed() {
    let (one, two) = (SigningSecret::random(), SigningSecret::random());
    assert_ne!(one.expose(), two.expose());
    assert!(SigningSecret::parse(one.expose()).is_some());
    assert!(!format!("{one:?}").contains("whsec_"), "{one:?}");
    for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_not base64"] {
        assert!(SigningSecret::parse(bad).is_none(), "{bad}");
    }
}
