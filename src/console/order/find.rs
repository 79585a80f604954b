//! The order that a path names.

use std::sync::Arc;

use crate::console::fault::Fault;
use crate::console::state::Console;
use crate::console::viewer::Viewer;
use crate::ids::{MerchantKey, OrderNo};
use crate::store::StoredOrder;

/// The order, if the viewer may see its merchant.
pub async fn find(
    app: &Console,
    viewer: &Viewer,
    (merchant, order_no): (String, String),
) -> Result<Arc<StoredOrder>, Fault> {
    let merchant = MerchantKey::parse(merchant).ok().filter(|key| viewer.sees(key)).ok_or(Fault::NotFound)?;
    let order_no = OrderNo::parse(order_no).map_err(|_| Fault::NotFound)?;
    let found = app.store.order(&merchant, &order_no).await?;
    found.map(Arc::new).ok_or(Fault::NotFound)
}
