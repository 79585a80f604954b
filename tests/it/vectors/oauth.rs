use wxpay_worker::ids::AppId;
use wxpay_worker::wechat::oauth::{Scope, authorize_url, valid_state};

#[test]
fn every_oauth_vector_gives_its_address_or_its_judgement_of_the_state() {
    for v in super::of("oauth", 9) {
        let state = v.input("state");
        match v.name {
            name if name.starts_with("oauth-authorize-url-") => {
                let appid = AppId::parse(v.input("appid")).unwrap();
                let scope = Scope::parse(v.input("scope")).unwrap();
                for open_url in ["https://open.weixin.qq.com", "https://open.weixin.qq.com/"] {
                    let url = authorize_url(open_url, &appid, v.input("redirect_uri"), scope, state);
                    assert_eq!(url, v.expects("url"), "{name}");
                }
            }
            name if name.starts_with("oauth-state-") => {
                assert_eq!(valid_state(state), v.expected["valid"].as_bool().unwrap(), "{name}");
            }
            name => panic!("no test for {name}"),
        }
    }
}
