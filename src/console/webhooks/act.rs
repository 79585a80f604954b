//! What a person does about endpoints: making, changing, enabling, disabling, testing, recovering, rotating, deleting.

use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::list::{PATH, shown};
use super::page as endpoint_page;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Fields, Posted};
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::reason;
use crate::console::viewer::Viewer;
use crate::http::ENTITY_FACTS;
use crate::http::orders::request::is_plain;
use crate::ids::MerchantKey;
use crate::ops::webhooks;
use crate::ops::webhooks::{Change, Made, NewEndpoint, WebhookError};
use crate::store::{EndpointFormat, Right};

const DESCRIPTION_BYTES: usize = 500;

#[derive(Template)]
#[template(path = "console/webhook_secret.html")]
struct SecretPage {
    frame: Frame,
    t: &'static Texts,
    url: String,
    secret: String,
    link: String,
}

/// `POST /console/webhooks`: a new endpoint, with its secret, which is shown this once.
pub async fn create(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    match made(&app, &viewer, &fields).await {
        Ok(Made { view, secret: None }) => Ok(back(&app, &view.endpoint.id, Texts::of(app.lang).says_made)),
        Ok(made) => secret_page(&app, &viewer, &made),
        Err(Fault::Unusable(problem)) => {
            let query = Filters::of_fields(fields.pairs().filter(|(name, _)| name != "csrf"));
            let shown = shown(&app, &viewer, query, Some(problem)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&shown)?).into_response())
        }
        Err(other) => Err(other),
    }
}

async fn made(app: &Console, viewer: &Viewer, fields: &Fields) -> Result<Made, Fault> {
    let t = Texts::of(app.lang);
    let unusable = |text: &str| Fault::Unusable(text.to_owned());
    let reason = reason::check(fields.get("reason"), app.lang).map_err(unusable)?;
    let merchant = fields.get("merchant").and_then(|name| MerchantKey::parse(name).ok());
    let merchant = merchant.filter(|key| viewer.sees(key) && app.config.merchant(key.as_str()).is_some());
    let merchant = merchant.ok_or(Fault::NotFound)?;
    let (url, description, event_types) = entered_endpoint(fields, t)?;
    let format = fields.get("format").and_then(EndpointFormat::parse).unwrap_or(EndpointFormat::Events);
    let new = NewEndpoint { merchant, format, url, description, event_types, reason };
    webhooks::create(&app.webhooks, &viewer.operator(), new).await.map_err(|e| fault(e, t))
}

/// The address, the description and the whole types of a form.
fn entered_endpoint(fields: &Fields, t: &'static Texts) -> Result<(String, String, Vec<String>), Fault> {
    let description = fields.get("description").unwrap_or_default().trim().to_owned();
    if !description.is_empty() && !is_plain(&description, DESCRIPTION_BYTES) {
        return Err(Fault::Unusable(t.description.to_owned()));
    }
    let mut event_types = Vec::new();
    for name in fields.get("events").unwrap_or_default().split_whitespace() {
        let short = name.trim_start_matches("wxpay.").trim_end_matches(".v1");
        if !ENTITY_FACTS.contains(&short) {
            return Err(Fault::Unusable(format!("{}: {name}", t.bad_events)));
        }
        event_types.push(format!("wxpay.{short}.v1"));
    }
    Ok((fields.get("url").unwrap_or_default().trim().to_owned(), description, event_types))
}

/// `POST …/{id}/change`: its address, description and events.
pub async fn change(
    app: Console,
    Path(id): Path<String>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    match changed(&app, &viewer, &id, &fields).await {
        Ok(()) => Ok(back(&app, &id, Texts::of(app.lang).says_changed)),
        Err(Fault::Unusable(problem)) => {
            let entered = Filters::of_fields(fields.pairs().filter(|(name, _)| name != "csrf"));
            let shown = endpoint_page::shown(&app, &viewer, &id, Filters::default(), Some((problem, entered))).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&shown)?).into_response())
        }
        Err(other) => Err(other),
    }
}

async fn changed(app: &Console, viewer: &Viewer, id: &str, fields: &Fields) -> Result<(), Fault> {
    let t = Texts::of(app.lang);
    let reason = entered(app, fields).map_err(|text| Fault::Unusable(text.to_owned()))?;
    let (url, description, event_types) = entered_endpoint(fields, t)?;
    let (url, description, event_types) = (Some(url), Some(description), Some(event_types));
    let change = Change { url, description, event_types, is_enabled: None, reason };
    webhooks::update(&app.webhooks, &viewer.operator(), id, change).await.map_err(|e| fault(e, t))?;
    Ok(())
}

/// `POST …/{id}/state`
pub async fn state(app: Console, Path(id): Path<String>, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = Texts::of(app.lang);
    let is_enabled = fields.get("state") == Some("enabled");
    let reason = match entered(&app, &fields) {
        Ok(reason) => reason,
        Err(problem) => return Ok(back(&app, &id, problem)),
    };
    let change = Change { is_enabled: Some(is_enabled), reason, ..Change::default() };
    webhooks::update(&app.webhooks, &viewer.operator(), &id, change).await.map_err(|e| fault(e, t))?;
    Ok(back(&app, &id, if is_enabled { t.says_enabled } else { t.says_disabled }))
}

/// `POST …/{id}/test`
pub async fn test(app: Console, Path(id): Path<String>, Posted { viewer, .. }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = Texts::of(app.lang);
    let answer = webhooks::test(&app.webhooks, &viewer.operator(), &id).await.map_err(|e| fault(e, t))?;
    let says = if answer.is_success() {
        t.says_tested.to_owned()
    } else {
        format!("{}{}", t.says_test_failed, answer.error.unwrap_or_default())
    };
    Ok(back(&app, &id, &says))
}

/// `POST …/{id}/recover`
pub async fn recover(
    app: Console,
    Path(id): Path<String>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = Texts::of(app.lang);
    let reason = match entered(&app, &fields) {
        Ok(reason) => reason,
        Err(problem) => return Ok(back(&app, &id, problem)),
    };
    let hours = fields.get("hours").and_then(|hours| hours.parse::<u32>().ok());
    let since = hours.map(|hours| app.clock.now().before(std::time::Duration::from_secs(u64::from(hours) * 3600)));
    let recovered = webhooks::recover(&app.webhooks, &viewer.operator(), &id, since, reason).await;
    let recovered = recovered.map_err(|e| fault(e, t))?;
    Ok(back(&app, &id, &format!("{recovered} {}", t.says_recovered)))
}

/// `POST …/{id}/rotate`: the new secret, which is shown this once.
pub async fn rotate(
    app: Console,
    Path(id): Path<String>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    let reason = match entered(&app, &fields) {
        Ok(reason) => reason,
        Err(problem) => return Ok(back(&app, &id, problem)),
    };
    let made = webhooks::rotate(&app.webhooks, &viewer.operator(), &id, reason).await;
    secret_page(&app, &viewer, &made.map_err(|e| fault(e, Texts::of(app.lang)))?)
}

/// `POST …/{id}/delete`
pub async fn delete(
    app: Console,
    Path(id): Path<String>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    let t = Texts::of(app.lang);
    let reason = match entered(&app, &fields) {
        Ok(reason) => reason,
        Err(problem) => return Ok(back(&app, &id, problem)),
    };
    webhooks::delete(&app.webhooks, &viewer.operator(), &id, reason).await.map_err(|e| fault(e, t))?;
    Ok(flash::redirect(app.shared.jar, PATH, t.says_deleted))
}

fn entered(app: &Console, fields: &Fields) -> Result<String, &'static str> {
    reason::check(fields.get("reason"), app.lang)
}

fn back(app: &Console, id: &str, says: &str) -> Response {
    flash::redirect(app.shared.jar, &links::webhook(id), says)
}

fn secret_page(app: &Console, viewer: &Viewer, made: &Made) -> Result<Response, Fault> {
    let t = Texts::of(app.lang);
    page(&SecretPage {
        frame: Frame::new(app, viewer, Place::Webhooks, t.secret),
        t,
        url: made.view.endpoint.url.clone(),
        secret: made.secret.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        link: links::webhook(&made.view.endpoint.id),
    })
}

fn fault(e: WebhookError, t: &'static Texts) -> Fault {
    match e {
        WebhookError::Address(refused) => Fault::Unusable(format!("{}: {refused}", t.url)),
        WebhookError::UsedUp => Fault::Unusable(t.says_used_up.to_owned()),
        WebhookError::TooOften => Fault::Busy,
        WebhookError::Key(_) => Fault::Unusable(t.says_no_key.to_owned()),
        other => crate::http::Error::from(other).into(),
    }
}
