//! Which of the refused bodies of an attempt goes where there are too many.
//!
//! Nothing of them is verified: any sender may name an attempt of ours, and one of them may be WeChat's. What must stay
//! true: what cannot be WeChat's goes first; a sender displaces its own bodies before another's; those that came first
//! stay, and so does the newest, which a repeat of the true one is.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::http::network::network;
use crate::money::Fen;
use crate::store::{KeptBody, UnpaidAttempt};
use crate::wechat::v2::xml;

/// So many stay because they came first.
const FIRST: usize = 4;

/// The place of the body that goes. The first one is the newest.
pub fn displaced(attempt: &UnpaidAttempt, bodies: &[KeptBody]) -> Option<usize> {
    let agreeing: Vec<bool> = bodies.iter().map(|body| agrees(attempt, &body.body)).collect();
    let mut places: Vec<usize> = (0..bodies.len()).collect();
    if agreeing.contains(&false) {
        places.retain(|place| !agreeing[*place]);
    }
    let mut by_sender: HashMap<String, Vec<usize>> = HashMap::new();
    for place in places {
        by_sender.entry(sender(&bodies[place].remote_addr)).or_default().push(place);
    }
    let most = by_sender.values().map(Vec::len).max()?;
    let mut places: Vec<usize> = by_sender.into_values().filter(|places| places.len() == most).flatten().collect();
    places.sort_unstable_by_key(|place| (*place == 0, &bodies[*place].first_id));
    let first = if places.len() > FIRST { FIRST } else { 0 };
    let oldest = |place: &&usize| (**place == 0, bodies[**place].last_received_at, &bodies[**place].first_id);
    places.get(first..)?.iter().min_by_key(oldest).copied()
}

/// Whether it says of the payment what WeChat would: WeChat repeats what it was sent for the attempt.
fn agrees(attempt: &UnpaidAttempt, body: &[u8]) -> bool {
    let Ok(fields) = xml::parse(body) else { return false };
    let field = |name: &str| fields.get(name).map(String::as_str);
    field("mch_id") == Some(attempt.mch_id.as_str())
        && field("appid") == Some(attempt.appid.as_str())
        && field("total_fee").and_then(|fee| Fen::parse_field(fee).ok()) == Some(attempt.amount)
}

fn sender(remote_addr: &str) -> String {
    remote_addr.parse::<IpAddr>().map_or_else(|_| remote_addr.to_owned(), |address| network(address).to_string())
}
