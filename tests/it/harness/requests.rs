//! Requests to the API and to the simulator.

use serde_json::Value;

/// Status and JSON body, `null` where it is none.
pub async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, Value)> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

/// A client of http:// addresses, without a proxy. It has no certificate authorities: loading the machine's takes
/// longer than most tests do.
pub fn plain_http() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}
