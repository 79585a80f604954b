//! The console's users, invitations, sessions and attempts: the same tests on SQLite and on PostgreSQL.

use std::time::Duration;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::ops;
use wxpay_worker::ops::Operator;
use wxpay_worker::secret::sha256_hex;
use wxpay_worker::store::{Access, Attempt, ConsoleUser, Right, Role, Store, UserChange};

use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);
const LIFE: Duration = Duration::from_secs(3600);

fn after(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn operator() -> Operator {
    ops::users::local_operator()
}

fn only(merchant: &str) -> Option<Vec<MerchantKey>> {
    Some(vec![MerchantKey::parse(merchant).unwrap()])
}

async fn invited(store: &Store, name: &str, access: Access, at: Timestamp) -> String {
    let invited = ops::users::invite(store, &operator(), None, (name, access), at).await.unwrap();
    assert_eq!(invited.change, UserChange::Done);
    invited.token
}

async fn uses(store: &Store, token: &str, password: &str, at: Timestamp) -> bool {
    ops::users::use_invitation(store, &sha256_hex(token.as_bytes()), password, ("x", "::1"), at).await.unwrap()
}

async fn user(store: &Store, name: &str) -> ConsoleUser {
    store.console_users(10).await.unwrap().into_iter().find(|user| user.name == name).unwrap()
}

/// A user with a password and one open session.
async fn with_session(store: &Store, name: &str, access: Access) -> (ConsoleUser, String) {
    let token = invited(store, name, access, NOW).await;
    assert!(uses(store, &token, "hash", NOW).await);
    (user(store, name).await, session(store, name).await)
}

async fn session(store: &Store, name: &str) -> String {
    let login = store.console_login(name).await.unwrap().unwrap();
    ops::users::log_in(store, &login, ("::1", "test"), LIFE, NOW).await.unwrap().unwrap()
}

async fn is_open(store: &Store, token: &str, at: Timestamp) -> bool {
    store.console_session(&sha256_hex(token.as_bytes()), at).await.unwrap().is_some()
}

fn attempt(name: &str, address: &str) -> Attempt {
    Attempt { name: name.to_owned(), address: address.to_owned() }
}

fn admin() -> Access {
    Access::of(Role::Admin, None)
}

on_both_databases! {
    async fn an_invitation_is_good_once_and_for_fifteen_minutes(stage) {
        let store = &stage.store;
        let late = invited(store, "late", admin(), NOW).await;
        assert!(!uses(store, &late, "hash", after(15 * 60)).await);
        let first = invited(store, "anna", admin(), NOW).await;
        let second = invited(store, "anna", Access::of(Role::Viewer, None), NOW).await;
        assert!(!uses(store, &first, "hash", after(1)).await, "a later invitation ends the one before");
        assert!(uses(store, &second, "hash", after(15 * 60 - 1)).await);
        assert!(!uses(store, &second, "another", after(15 * 60 - 1)).await, "it was used");
        let anna = user(store, "anna").await;
        assert_eq!(anna.access, admin(), "one that exists keeps its access");
        assert_eq!(store.console_login("anna").await.unwrap().unwrap().password, "hash");
        let stored = stage.count("console_invitations").await;
        assert_eq!(stored, 1, "only that of the user who never used it");
    }

    async fn two_who_use_one_invitation_at_once_do_not_both_succeed(stage) {
        let token = invited(&stage.store, "anna", admin(), NOW).await;
        let (store, hash) = (&stage.store, sha256_hex(token.as_bytes()));
        let one = |password: &'static str| {
            let hash = hash.clone();
            async move { ops::users::use_invitation(store, &hash, password, ("anna", "::1"), NOW).await.unwrap() }
        };
        let (a, b) = tokio::join!(one("a"), one("b"));
        assert!(a != b, "{a} {b}");
        let password = store.console_login("anna").await.unwrap().unwrap().password;
        assert_eq!(password, if a { "a" } else { "b" });
    }

    async fn sessions_end_by_time_by_their_user_by_a_new_password_and_with_the_user(stage) {
        let store = &stage.store;
        with_session(store, "root", admin()).await;
        let (anna, token) = with_session(store, "anna", Access::of(Role::Operator, None)).await;
        assert!(is_open(store, &token, after(3599)).await);
        assert!(!is_open(store, &token, after(3600)).await, "its time is over");
        assert_eq!(stage.count("console_sessions").await, 2);
        let found = store.console_session(&sha256_hex(token.as_bytes()), NOW).await.unwrap().unwrap();
        let (viewer, as_anna) = (Access::of(Role::Viewer, None), anna.access.clone());
        let end = async |who: i64, within: &Access| {
            ops::users::end_session(store, &operator(), (who, within), found.id, NOW).await.unwrap()
        };
        assert!(!end(anna.id + 100, &viewer).await, "another's session");
        assert!(is_open(store, &token, NOW).await);
        assert!(end(anna.id, &as_anna).await);
        assert!(!is_open(store, &token, NOW).await);

        let token = session(store, "anna").await;
        let login = store.console_login("anna").await.unwrap().unwrap();
        assert!(ops::users::change_password(store, &login, "new", "::1", after(1)).await.unwrap());
        assert!(!is_open(store, &token, after(1)).await, "the password is another one");
        let again = ops::users::change_password(store, &login, "newer", "::1", after(2)).await.unwrap();
        assert!(!again, "it was compared before");
        let opened = ops::users::log_in(store, &login, ("::1", "test"), LIFE, NOW).await.unwrap();
        assert!(opened.is_none(), "a login that compared the password of before opens nothing");

        let token = session(store, "anna").await;
        let removed = ops::users::change(store, &operator(), &admin(), (anna.id, None), NOW).await.unwrap();
        assert_eq!(removed, UserChange::Done);
        assert!(!is_open(store, &token, NOW).await);
        assert!(store.console_login("anna").await.unwrap().is_none());
    }

    async fn the_last_administrator_stays_however_many_are_removed_at_once(stage) {
        let store = &stage.store;
        let (a, _) = with_session(store, "a", admin()).await;
        let (b, _) = with_session(store, "b", admin()).await;
        // Neither counts: one has no password, the other does not see all merchants.
        invited(store, "c", admin(), NOW).await;
        with_session(store, "d", Access::of(Role::Admin, only("main"))).await;
        let change = async |id: i64, to: Option<Access>| {
            ops::users::change(store, &operator(), &admin(), (id, to.as_ref()), NOW).await.unwrap()
        };
        let (one, other) = tokio::join!(change(a.id, None), change(b.id, Some(Access::of(Role::Viewer, None))));
        let mut results = [one, other];
        results.sort_by_key(|result| *result != UserChange::Done);
        assert_eq!(results, [UserChange::Done, UserChange::LastAdmin]);
        let left = if one == UserChange::Done { b.id } else { a.id };
        assert_eq!(change(left, Some(Access::of(Role::Admin, only("main")))).await, UserChange::LastAdmin);
        assert_eq!(change(left, Some(admin())).await, UserChange::Done);
        assert_eq!(change(9999, None).await, UserChange::None);
    }

    async fn no_administrator_gives_or_takes_more_than_it_has(stage) {
        let store = &stage.store;
        with_session(store, "root", admin()).await;
        let (free, _) = with_session(store, "free", Access::of(Role::Viewer, None)).await;
        let limited = Access::of(Role::Admin, only("main"));
        for beyond in [admin(), Access::of(Role::Viewer, None), Access::of(Role::Viewer, only("second"))] {
            let asked = ops::users::invite(store, &operator(), Some(&limited), ("new", beyond), NOW).await.unwrap();
            assert_eq!(asked.change, UserChange::Beyond);
        }
        let link = ("free", Access::of(Role::Viewer, only("main")));
        let link = ops::users::invite(store, &operator(), Some(&limited), link, NOW).await.unwrap();
        assert_eq!(link.change, UserChange::Beyond, "a link for a user who sees more would take it over");
        assert!(!uses(store, &link.token, "stolen", NOW).await);
        let removed = ops::users::change(store, &operator(), &limited, (free.id, None), NOW).await.unwrap();
        assert_eq!(removed, UserChange::Beyond);
        let within = ("mine", Access { grants: vec![Right::Replay], ..Access::of(Role::Viewer, only("main")) });
        let asked = ops::users::invite(store, &operator(), Some(&limited), within, NOW).await.unwrap();
        assert_eq!(asked.change, UserChange::Done);
        assert!(user(store, "mine").await.access.has(Right::Replay));
        assert!(!user(store, "mine").await.access.has(Right::Refund));
    }

    async fn attempts_slow_down_to_a_bound_and_are_forgotten(stage) {
        let store = &stage.store;
        let on = attempt("x", "y");
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..10 {
            let mut wait = 0;
            while !store.begin_attempt(&on, now).await.unwrap() {
                now = now.after(Duration::from_secs(1));
                wait += 1;
            }
            waits.push(wait);
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 2, 4, 8, 16, 16], "never more than the last");
        assert!(!store.begin_attempt(&on, now).await.unwrap());
        assert!(store.begin_attempt(&attempt("x", "z"), now).await.unwrap(), "the user at another address");
        store.excuse_attempt(&on).await.unwrap();
        assert!(store.begin_attempt(&on, now).await.unwrap(), "one that succeeded forgets those before");
        let failures = "SELECT failures FROM console_attempts WHERE subject = 'address:y'";
        let address = crate::harness::sql::number(store.db(), failures).await;
        assert_eq!(address, 10, "and takes itself from the address's");
        let later = now.after(Duration::from_secs(3600));
        for _ in 0..5 {
            assert!(store.begin_attempt(&on, later).await.unwrap(), "they are forgotten");
        }
        assert!(!store.begin_attempt(&on, later).await.unwrap());
    }

    async fn many_addresses_slow_each_other_and_not_the_first_attempts_of_another(stage) {
        let store = &stage.store;
        let on = |address: usize| attempt("x", &format!("10.0.0.{address}"));
        for address in 0..13 {
            for _ in 0..4 {
                store.begin_attempt(&on(address), NOW).await.unwrap();
            }
        }
        assert!(!store.begin_attempt(&on(0), NOW).await.unwrap(), "a fifth is free for a name and an address alone");
        let until = "SELECT next_at_ms FROM console_attempts WHERE subject = 'user:x'";
        let waits = crate::harness::sql::number(store.db(), until).await;
        for _ in 0..3 {
            assert!(store.begin_attempt(&on(99), NOW).await.unwrap(), "the user comes in");
        }
        assert!(!store.begin_attempt(&on(99), NOW).await.unwrap());
        assert_eq!(crate::harness::sql::number(store.db(), until).await, waits, "and makes no one wait longer");
        assert!(store.begin_attempt(&on(0), NOW.after(Duration::from_secs(8))).await.unwrap());
    }

    async fn a_success_leaves_the_wait_of_its_address(stage) {
        let store = &stage.store;
        for n in 0..30 {
            assert!(store.begin_attempt(&attempt(&format!("x{n}"), "y"), NOW).await.unwrap());
        }
        store.excuse_attempt(&attempt("x29", "y")).await.unwrap();
        assert!(!store.begin_attempt(&attempt("other", "y"), NOW).await.unwrap(), "guesses on others wait still");
    }

    async fn attempts_that_come_at_once_count_one_by_one(stage) {
        let store = &stage.store;
        let try_it = || async { store.begin_attempt(&attempt("x", "y"), NOW).await.unwrap() };
        let passed = futures_util::future::join_all((0..20).map(|_| try_it())).await;
        assert_eq!(passed.iter().filter(|passed| **passed).count(), 5);
    }

    async fn other_access_ends_an_invitation(stage) {
        let store = &stage.store;
        let link = invited(store, "vera", Access::of(Role::Viewer, None), NOW).await;
        let vera = user(store, "vera").await.id;
        let wide = Access::of(Role::Operator, None);
        ops::users::change(store, &operator(), &admin(), (vera, Some(&wide)), NOW).await.unwrap();
        assert!(!uses(store, &link, "stolen", NOW).await, "it may be of one who could not make it now");
    }
}
