//! Lists of orders and the history of one, over HTTP and in their statements.

mod filters;
mod history;
mod plans;
mod search;

use serde_json::Value;

use crate::harness::service::InProcess;

impl InProcess {
    /// A page of the list.
    async fn order_list(&self, query: &str) -> Value {
        let (status, list) = self.get(&format!("/v1/orders?{query}")).await;
        assert_eq!(status, 200, "{list}");
        list
    }

    /// The numbers of a list, in its order.
    async fn numbers(&self, query: &str) -> Vec<String> {
        let list = self.order_list(query).await;
        list["orders"].as_array().unwrap().iter().map(|order| order["order_no"].as_str().unwrap().to_owned()).collect()
    }
}
